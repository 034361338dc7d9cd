-- A server needs no more jobs of the type, except those it has `offered`: another waiting one is
-- woken.
-- KEYS: void ready waiting limit
-- ARGV: channel offered
-- Returns: 1 where another one was told, else 0
--@include clock level level_keys levels first_turn first_of waiting wake
local waiting = KEYS[3]
local line = line_of(waiting)
local server = find_server(line, ARGV[1])
server.waits, server.coming, server.offered = false, false, tonumber(ARGV[2])
write_server(waiting, server)
return wake(waiting, first_of(KEYS[2], KEYS[4]), line) and 1 or 0
