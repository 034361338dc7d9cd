-- Ends a lease without a finish: the job takes its old place again, before all that were never
-- delivered (after `delay` ms, if any), or is discarded where its queue was cleared or, with
-- `counted`, no requeue is left. Returns the status and the time (ms) of its queue's turn.
-- k: ready leases queue active returned delayed marks retention interval_retention
local function give_back(k, queue_id, job_id, job, counted, delay)
  local member = queue_id .. '/' .. job_id
  local q = load_queue(k.queue)
  redis.call('HDEL', k.active, job_id)
  redis.call('ZREM', k.leases, member)
  if job.seq < q.cleared or (counted and job.left == '0') then
    write_mark(k.marks, k.retention, member, job.n, DEAD)
    settle_if_idle(k.queue, k.active, k.interval_retention)
    return DEAD
  end
  if counted then
    job.left = spend(job.left)
  end
  q.waiting = q.waiting + 1
  if delay > 0 then
    q.late = q.late + 1
    redis.call('HSET', k.queue, ':l', q.late, job_id, pack_waiting(job))
    redis.call('ZADD', k.delayed, now + delay, delayed_member(job.seq, job_id))
  else
    q.back = q.back + 1
    redis.call('HSET', k.queue, ':b', q.back, job_id, pack_waiting(job))
    redis.call('ZADD', k.returned, job.seq, job_id)
  end
  return QUEUED, reschedule(k.ready, queue_id, q, k.delayed)
end
