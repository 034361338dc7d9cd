-- Puts a job at the tail of its queue: status, the length before it, and the time (ms) of the queue's
-- turn where that is news.
-- k: ready queue active delayed counters
local function put(k, queue_id, job_id, payload, interval, requeue_limit, max_length)
  local q = load_queue(k.queue, job_id)
  local known = q.job or redis.call('HGET', k.active, job_id)
  if known then
    return payload_of(known) == payload and DUPLICATE or CONFLICT, q.waiting
  end
  if max_length and q.waiting >= max_length then
    return FULL, q.waiting
  end

  local empty = q.waiting == 0
  if empty and q.interval and redis.call('EXISTS', k.active) == 0 then
    begin_anew(q)
  end
  local changed = not q.api and q.interval ~= interval
  if changed then
    change_interval(q, interval)
  end
  local seq = q.next
  local record = seq .. ':' .. requeue_limit .. ':0 ' .. payload
  q.next, q.waiting = seq + 1, q.waiting + 1
  local at
  if empty then
    -- All of the state, and before the jobs: a field that a listpack does not have, or has at its
    -- end, is looked for past all others.
    redis.call('HSET', q.key, ':i', q.interval, ':t', q.tat, ':h', q.head, ':n', q.next,
      ':b', 0, ':l', 0, ':c', q.cleared, ':s', q.api and 1 or 0, ':x', 0,
      ':' .. seq, job_id, job_id, record)
    redis.call('PERSIST', q.key)
    at = math.max(q.tat, now)
    redis.call('ZADD', k.ready, at, queue_id)
  else
    redis.call('HSET', q.key, ':i', q.interval, ':t', q.tat, ':n', q.next, ':' .. seq, job_id,
      job_id, record)
    if changed or q.waiting - 1 == q.late then
      at = reschedule(k.ready, queue_id, q, k.delayed)
    end
  end
  count(k.counters, 'e', queue_id)
  return QUEUED, q.waiting - 1, at
end
