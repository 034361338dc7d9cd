-- Lets a lease end at the later of its end and `by` ms from now: status, ms that are left.
-- k: leases held marks retention requests
local function extend_lease(k, queue_id, job_id, n, by)
  local member = queue_id .. '/' .. job_id
  local job, refusal = leased_job(k.held, k.marks, k.retention, member, n)
  if not job then
    return refusal, 0
  end
  local ends = tonumber(redis.call('ZSCORE', k.leases, member) or 0)
  if now + by > ends then
    ends = now + by
    redis.call('ZREM', k.leases, member)
    redis.call('ZADD', k.leases, ends, member)
    --@audit 'extend', member, 'n', job.n, 'ends', ends
    local request = k.requests .. job.request
    if job.request ~= '' and redis.call('PTTL', request) < by then
      expire(request, by)
    end
  end
  return SUCCESS, math.max(0, ends - now)
end
