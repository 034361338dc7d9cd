-- Reads leased jobs by the end of their leases, from a place on: up to `count` of them, or `room` bytes of payloads.
-- KEYS: active payloads intervals
-- ARGV: queue_type from count room queues
-- Returns: time (ms), how many there are, {member, end, payload, requeues, interval, last dispatch}
local kind, from, room, time = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[4]), redis.call('TIME')
local out = {time[1] * 1000 + math.floor(time[2] / 1000), 0}
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then
  return out
end
out[2] = redis.call('ZCARD', KEYS[1])
local members = redis.call('ZRANGE', KEYS[1], from, from + ARGV[3] - 1, 'WITHSCORES')
for i = 1, #members, 2 do
  if room <= 0 then
    break
  end
  local queue_id, job_id = string.match(members[i], '^([^:]*):?(.*)$')
  local payload, last = redis.call('HGET', KEYS[2], kind .. ':' .. members[i]), #out
  local dispatched = redis.pcall('GET', ARGV[5] .. queue_id .. ':time')
  out[last + 1], out[last + 2], out[last + 3] = members[i], members[i + 1], payload
  out[last + 4] = redis.call('HGET', ARGV[5] .. queue_id .. ':requeues_remaining', job_id)
  out[last + 5] = redis.call('HGET', KEYS[3], kind .. ':' .. queue_id)
  out[last + 6] = type(dispatched) == 'string' and dispatched
  room = room - (payload and #payload or 0)
end
return out
