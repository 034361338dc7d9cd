-- Removes the waiting and the delayed jobs of a queue; with `purge` its leases end too and an
-- interval of the API is dropped. The rate state stays. However long the queue is, the store
-- frees it in the background.
-- KEYS: void ready leases queue active returned delayed
-- ARGV: interval_retention queue_id purge
-- Returns: waiting jobs removed, leases ended
--@include clock queue
local ready, leases, key, active = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
-- Leases beyond this many leave the schedule of expiries when the sweep meets them.
local LEASES_AT_ONCE = 1000
local queue_id, purge = ARGV[2], ARGV[3] == '1'
local q = load_queue(key)
local leased = redis.call('HLEN', active)
local idle = q.waiting == 0 and leased == 0
if not q.interval or (idle and not purge) then
  return {0, 0}
end
if idle then
  begin_anew(q)
end
redis.call('ZREM', ready, queue_id)
redis.call('UNLINK', key, KEYS[6], KEYS[7])
if purge then
  if leased > 0 and leased <= LEASES_AT_ONCE then
    local members = redis.call('HKEYS', active)
    for i, job_id in ipairs(members) do
      members[i] = queue_id .. '/' .. job_id
    end
    redis.call('ZREM', leases, unpack(members))
  end
  redis.call('UNLINK', active)
  q.api = false
end
if q.interval then
  redis.call('HSET', key, ':i', q.interval, ':t', q.tat, ':h', q.next, ':n', q.next,
    ':c', q.next, ':s', q.api and 1 or 0)
  settle_if_idle(key, active, tonumber(ARGV[1]))
end
return {q.waiting, purge and leased or 0}
