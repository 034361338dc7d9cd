-- Ends a lease without a finish: the job takes its old place again (after a delay, if any), or dies if its
-- queue was cleared, if it was rejected or if it counts and no requeue is left. Returns the status.
-- told: how (release, return: not counted, fail, reject or expiry), delay (ms; nil: the backoff), worker, error
-- k: leases held jobs returned delayed counters marks retention interval_retention dead failing, and what `open_levels`
-- adds
local REASONS = {release = EXHAUSTED, fail = EXHAUSTED, expiry = EXPIRED, reject = REJECTED}

-- A job that kills its workers does not come first again and again.
local MOST_EXPIRIES = 2

local function end_for_good(k, q, job_id, job, told, cleared)
  local member, reason = q.id .. '/' .. job_id, not cleared and REASONS[told.how] or ''
  local kept = reason ~= '' and bury(k, q, job_id, job, reason)
  write_marks(k.marks, k.retention, {member, job.n .. ':' .. (kept and BURIED or DEAD)})
  save_queue(q, k.interval_retention)
  take_turn_after_lease(k, q)
  --@audit 'dead', member, 'n', job.n, 'left', job.left, 'how', told.how, 'counted', told.how ~= 'return',
  --@ 'cleared', cleared, 'reason', reason, 'kept', kept
  return DEAD
end

local function give_back(k, q, job_id, job, told)
  local member, counted = q.id .. '/' .. job_id, told.how ~= 'return'
  redis.call('HDEL', k.held, member)
  redis.call('ZREM', k.leases, member)
  count_type(k, 'o', 1)
  count_leases(k, q, -1)
  note_end(job, told)
  local cleared = seq_of(job.place) < q.cleared
  if cleared or told.how == 'reject' or (counted and job.left == '0') then
    return end_for_good(k, q, job_id, job, told, cleared)
  end
  local left = counted and spend(job.left) or job.left
  local ended = counted and job.attempt or job.attempt - 1
  local delay = told.delay
  if not delay or (told.how == 'expiry' and job.expiries > MOST_EXPIRIES) then
    delay = backoff(k, member, job)
  end
  redis.call('HSET', k.jobs .. q.id, job_id,
    pack_waiting(job.place, left, ended, job.payload, job.cost, job.history))
  q.waiting = q.waiting + 1
  add_waiting(k, 1)
  if delay > 0 then
    q.late = q.late + 1
    add_delayed(k, 1)
    redis.call('ZADD', k.delayed .. q.id, now + delay, delayed_member(job.place, job_id))
  else
    q.back = q.back + 1
    redis.call('ZADD', k.returned .. q.id, job.place, job_id)
  end
  save_queue(q)
  take_turn(k, q)
  --@audit 'return', member, 'n', job.n, 'left', left, 'how', told.how, 'counted', counted,
  --@ 'due', now + delay, 'place', string.format('%d', job.place), 'attempt', job.attempt,
  --@ 'expiries', job.expiries or 0
  return QUEUED
end
