-- Finds out how many jobs are ready that no server has offered to its subscribers: none while a
-- server has room for them itself. A server that finds fewer than it wants then waits.
-- KEYS: void ready waiting limit
-- ARGV: queues channel wanted offered offer_ms
-- Returns: jobs to be offered, wait (µs until there may be more; 0: there are `wanted` or more, and
--   it does not wait, -1: none is scheduled for it), rank among the servers that wait for them
--@include clock queue queues level level_keys levels first_turn first_of permitted ready_jobs waiting line_up wake
-- A server asks when its offers end, so others can get the remaining jobs. If it has died, they get
-- them this many ms later: earlier, an offer could not be distinguished from a fetch.
local LATE = 500
local ready, waiting = KEYS[2], KEYS[3]
local till = now + tonumber(ARGV[5]) + LATE
local wanted, offered = tonumber(ARGV[3]), tonumber(ARGV[4])
local line = line_of(waiting)
local server = find_server(line, ARGV[2])
local by_others, free_at, room = 0, math.huge, false
for _, other in ipairs(line) do
  if other ~= server then
    by_others = by_others + other.offered
    free_at = other.offered > 0 and math.min(free_at, other.till) or free_at
    room = room or other.coming or (other.waits and other.mode == DELIVER)
  end
end
if room then
  server.offered, server.till = offered, offered > 0 and till or 0
  line_up(waiting, line, server, NOTIFY, math.huge, false)
  wake(waiting, first_of(ready, KEYS[4]), line)
  return {0, -1, 0}
end

local k = {ready = ready, limit = KEYS[4], queues = ARGV[1]}
open_levels(k, redis.call('EXISTS', ready) == 0 and redis.call('GET', k.limit) or false)
local count = ready_jobs(k, wanted + offered + by_others + 1) - by_others - offered
local granted, next_at = math.max(0, math.min(wanted, count)), next_turn(k)
server.offered = offered + granted
server.till = server.offered > 0 and till or 0
if count > 0 and granted == wanted then
  server.waits, server.coming, server.mode = false, false, NOTIFY
  write_server(waiting, server)
  wake(waiting, count > granted and now or next_at, line)
  return {granted, 0, 0}
end
next_at = math.min(next_at, free_at)
local rank = line_up(waiting, line, server, NOTIFY, next_at, granted > 0)
return {granted, next_at == math.huge and -1 or math.ceil(next_at * 1000 - now_us), rank}
