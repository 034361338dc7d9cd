-- How long (ms) a type that is spread and its shards remember the number of their last pause: no caller is as late.
local PAUSE_KEPT = 86400000
