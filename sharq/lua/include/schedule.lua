-- The schedule: a sorted set of queue_id by the time (ms) at which its next job may go. Every
-- queue with a waiting job is in one, and no other. This is for queues whose only limit is their
-- interval, in a type without limits; `turns` is for all.
local function due_at(q, delayed)
  if q.waiting > q.late then
    return q.tat
  end
  return math.max(q.tat, tonumber(redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2] or 0))
end
