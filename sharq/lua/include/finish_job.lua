-- Ends a leased job for good: the status.
-- k: leases queue active marks retention interval_retention
local function finish_job(k, queue_id, job_id, n)
  local member = queue_id .. '/' .. job_id
  local job, refusal = held(k.active, job_id, n, k.marks, k.retention, member)
  if not job then
    return refusal
  end
  redis.call('HDEL', k.active, job_id)
  redis.call('ZREM', k.leases, member)
  write_mark(k.marks, k.retention, member, job.n, FINISHED)
  settle_if_idle(k.queue, k.active, k.interval_retention)
  return SUCCESS
end
