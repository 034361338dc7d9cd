-- Corrects what the counters tell of the waiting jobs of a type.
-- KEYS: void held
-- ARGV: counters more_waiting more_delayed
-- Returns: 1
--@include clock bucket count change_totals open
check_open(KEYS[2])
local k = {held = KEYS[2], counters = ARGV[1]}
add_delayed(k, tonumber(ARGV[3]))
add_waiting(k, tonumber(ARGV[2]))
return 1
