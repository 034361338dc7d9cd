-- Ends a lease without a finish: the job takes its old place again, before all that were never
-- delivered (after `delay` ms, if any), or is discarded if its queue was cleared or, with
-- `counted`, no requeue is left. If not counted, it was no attempt. Returns the status and the time
-- (ms) of its queue's turn.
-- k: ready leases held queue jobs returned delayed marks retention interval_retention
local function give_back(k, queue_id, job_id, job, counted, delay)
  local member = queue_id .. '/' .. job_id
  local q = load_queue(k.queue)
  q.id, q.leased = queue_id, q.leased - 1
  redis.call('HDEL', k.held, member)
  redis.call('ZREM', k.leases, member)
  if job.seq < q.cleared or (counted and job.left == '0') then
    write_marks(k.marks, k.retention, {member, job.n .. ':' .. DEAD})
    save_queue(q, k.interval_retention)
    --@audit 'dead', member, 'n', job.n, 'left', job.left, 'counted', counted,
    --@ 'cleared', job.seq < q.cleared
    return DEAD
  end
  local left = counted and spend(job.left) or job.left
  local ended = counted and job.attempt or job.attempt - 1
  redis.call('HSET', k.jobs, job_id, pack_waiting(job.seq, left, ended, job.payload))
  q.waiting = q.waiting + 1
  if delay > 0 then
    q.late = q.late + 1
    redis.call('ZADD', k.delayed, now + delay, delayed_member(job.seq, job_id))
  else
    q.back = q.back + 1
    redis.call('ZADD', k.returned, job.seq, job_id)
  end
  save_queue(q)
  --@audit 'return', member, 'n', job.n, 'left', left, 'counted', counted, 'due', now + delay,
  --@ 'place', job.seq
  return QUEUED, reschedule(k.ready, q, k.delayed)
end
