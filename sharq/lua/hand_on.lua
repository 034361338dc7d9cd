-- A server has no use for jobs of the type: another one that waits is told what is next.
-- KEYS: void ready waiting
-- ARGV: channel
-- Returns: 1 where another one was told, else 0
--@include clock waiting wake
local waiting = KEYS[3]
redis.call('HDEL', waiting, ARGV[1])
local next_at = tonumber(redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2])
return wake(waiting, next_at) and 1 or 0
