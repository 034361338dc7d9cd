-- Ends a lease without a finish: the job takes its old place again (after `delay` ms, if any), or is
-- discarded if its queue was cleared or, with `counted`, no requeue is left. If not counted, it was no
-- attempt. Returns the status.
-- k: leases held jobs returned delayed marks retention interval_retention, and what `open_levels` adds
local function give_back(k, q, job_id, job, counted, delay)
  local member = q.id .. '/' .. job_id
  redis.call('HDEL', k.held, member)
  redis.call('ZREM', k.leases, member)
  count_leases(k, q, -1)
  local cleared = seq_of(job.place) < q.cleared
  if cleared or (counted and job.left == '0') then
    write_marks(k.marks, k.retention, {member, job.n .. ':' .. DEAD})
    save_queue(q, k.interval_retention)
    take_turn_after_lease(k, q)
    --@audit 'dead', member, 'n', job.n, 'left', job.left, 'counted', counted, 'cleared', cleared
    return DEAD
  end
  local left = counted and spend(job.left) or job.left
  local ended = counted and job.attempt or job.attempt - 1
  redis.call('HSET', k.jobs .. q.id, job_id,
    pack_waiting(job.place, left, ended, job.payload, job.cost))
  q.waiting = q.waiting + 1
  if delay > 0 then
    q.late = q.late + 1
    redis.call('ZADD', k.delayed .. q.id, now + delay, delayed_member(job.place, job_id))
  else
    q.back = q.back + 1
    redis.call('ZADD', k.returned .. q.id, job.place, job_id)
  end
  save_queue(q)
  take_turn(k, q)
  --@audit 'return', member, 'n', job.n, 'left', left, 'counted', counted, 'due', now + delay,
  --@ 'place', string.format('%d', job.place)
  return QUEUED
end
