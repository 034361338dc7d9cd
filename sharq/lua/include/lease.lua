-- The leased job that `n` entitles to (an empty `n`: whoever holds the lease), or nil and why.
local function held(active, job_id, n, marks, retention, member)
  local record = redis.call('HGET', active, job_id)
  if record then
    local job = unpack_leased(record)
    if n == '' or n == job.n then
      return job
    end
    return nil, STALE_LEASE
  end
  local mark_n, state = read_mark(marks, retention, member)
  if state == FINISHED and (n == '' or n == mark_n) then
    return nil, ALREADY_FINISHED
  end
  return nil, NOT_ACTIVE
end
