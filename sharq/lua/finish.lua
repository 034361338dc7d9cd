-- Ends a leased job for good.
-- KEYS: void leases queue active
-- ARGV: marks retention interval_retention queue_id job_id n
-- Returns: status (success, not_active, stale_lease, already_finished)
--@include status clock record queue bucket mark lease
local member = ARGV[4] .. '/' .. ARGV[5]
local retention = tonumber(ARGV[2])
local job, refusal = held(KEYS[4], ARGV[5], ARGV[6], ARGV[1], retention, member)
if not job then
  return refusal
end
redis.call('HDEL', KEYS[4], ARGV[5])
redis.call('ZREM', KEYS[2], member)
write_mark(ARGV[1], retention, member, job.n, FINISHED)
settle_if_idle(KEYS[3], KEYS[4], tonumber(ARGV[3]))
return SUCCESS
