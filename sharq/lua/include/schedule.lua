-- The schedule: a sorted set of queue_id by the time (ms) at which its next job may go. Every
-- queue with a waiting job is in it, and no other.
local function due_at(q, delayed)
  if q.waiting > q.late then
    return q.tat
  end
  return math.max(q.tat, tonumber(redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2] or 0))
end

-- For a queue right after a dispatch: its TAT, and so its turn, is not in the past.
local function schedule(ready, queue_id, q, delayed)
  if q.waiting > 0 then
    redis.call('ZADD', ready, due_at(q, delayed), queue_id)
  else
    redis.call('ZREM', ready, queue_id)
  end
end

-- As `schedule`, for a queue with a waiting job: a turn that it had and still has is kept. Returns
-- the time.
local function reschedule(ready, queue_id, q, delayed)
  local at = math.min(redis.call('ZSCORE', ready, queue_id) or now, now)
  at = math.max(due_at(q, delayed), at)
  redis.call('ZADD', ready, at, queue_id)
  return at
end
