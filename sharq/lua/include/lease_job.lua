-- Leases the job that `next_job` has found and moves its queue on by an interval.
-- k: ready leases serial returned delayed active counters
local function lease_job(k, q, queue_id, job_id, record, lease_ms, request)
  local job = unpack_waiting(record)
  if q.back > 0 then
    redis.call('HDEL', q.key, job_id)
    redis.call('ZREM', k.returned, job_id)
    q.back = q.back - 1
    redis.call('HSET', q.key, ':b', q.back)
  else
    redis.call('HDEL', q.key, job_id, ':' .. q.head)
    q.head = q.head + 1
  end
  q.tat = math.max(now, q.tat) + q.interval
  q.waiting = q.waiting - 1
  redis.call('HSET', q.key, ':t', q.tat, ':h', q.head)
  schedule(k.ready, queue_id, q, k.delayed)

  job.attempt, job.n, job.request = job.attempt + 1, next_serial(k.serial), request
  redis.call('HSET', k.active, job_id, pack_leased(job))
  redis.call('ZADD', k.leases, now + lease_ms, queue_id .. '/' .. job_id)
  count(k.counters, 'd', queue_id)
  return job
end
