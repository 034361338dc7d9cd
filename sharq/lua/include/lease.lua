-- The leased job for the lease `n` (an empty `n`: any lease), or nil and why.
local function leased_job(held, marks, retention, member, n)
  local record = redis.call('HGET', held, member)
  if not record then
    return nil, refusal_of(marks, retention, member, n)
  end
  local job = unpack_leased(record)
  if n == '' or n == job.n then
    return job
  end
  return nil, STALE_LEASE
end
