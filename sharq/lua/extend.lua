-- Lets a lease end at the later of its end and `by` ms from now.
-- KEYS: void leases active
-- ARGV: marks retention requests queue_id job_id n by
-- Returns: status (success, not_active, stale_lease, already_finished), ms that are left
--@include status clock record bucket mark lease
local leases, active, by = KEYS[2], KEYS[3], tonumber(ARGV[7])
local member = ARGV[4] .. '/' .. ARGV[5]
local job, refusal = held(active, ARGV[5], ARGV[6], ARGV[1], tonumber(ARGV[2]), member)
if not job then
  return {refusal, 0}
end
local ends = tonumber(redis.call('ZSCORE', leases, member) or 0)
if now + by > ends then
  ends = now + by
  redis.call('ZREM', leases, member)
  redis.call('ZADD', leases, ends, member)
  local request = ARGV[3] .. job.request
  if job.request ~= '' and redis.call('PTTL', request) < by then
    expire(request, by)
  end
end
return {SUCCESS, math.max(0, ends - now)}
