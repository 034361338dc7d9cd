-- The next job of a queue, not yet taken: job_id and record, or nil where none may go now.
-- First come those given back, in the order of their enqueues, then the never delivered.
local DUE_AT_ONCE = 1000

local function next_job(q, returned, delayed)
  if q.late > 0 then
    local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, DUE_AT_ONCE)
    for _, member in ipairs(due) do
      redis.call('ZREM', delayed, member)
      redis.call('ZADD', returned, split_delayed(member))
    end
    if #due > 0 then
      q.late, q.back = q.late - #due, q.back + #due
      redis.call('HSET', q.key, ':l', q.late, ':b', q.back)
    end
  end
  local job_id
  if q.back > 0 then
    job_id = redis.call('ZRANGE', returned, 0, 0)[1]
  elseif q.next > q.head then
    job_id = redis.call('HGET', q.key, ':' .. q.head)
  end
  return job_id, job_id and redis.call('HGET', q.key, job_id)
end
