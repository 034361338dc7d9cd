-- A server needs no more jobs of the type, except those it has `offered`: another waiting one is
-- woken.
-- KEYS: void ready waiting
-- ARGV: channel offered
-- Returns: 1 where another one was told, else 0
--@include clock waiting wake
local waiting = KEYS[3]
local line = line_of(waiting)
local server = find_server(line, ARGV[1])
server.waits, server.coming, server.offered = false, false, tonumber(ARGV[2])
write_server(waiting, server)
local next_at = tonumber(redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2])
return wake(waiting, next_at, line) and 1 or 0
