-- The schedule: a sorted set of queue_id by the time (ms) at which its next job may go. Every
-- queue with a waiting job is in it, and no other.
local function due_at(q, delayed)
  if q.waiting > q.late then
    return q.tat
  end
  return math.max(q.tat, tonumber(redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2] or 0))
end

-- Since when the queue is ready, or now: a turn that it still has is kept.
local function ready_since(ready, q)
  return math.min(q.turn or redis.call('ZSCORE', ready, q.id) or now, now)
end

-- Enters a queue with a waiting job again. Returns the time.
local function reschedule(ready, q, delayed)
  local at = math.max(due_at(q, delayed), ready_since(ready, q))
  redis.call('ZADD', ready, at, q.id)
  return at
end
