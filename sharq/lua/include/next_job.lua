-- The next job of a queue that may go now: job_id and record, or nil. The first one in the order of
-- places of those in the set, given back or not in the sequence from the beginning, and of the sequence.
local DUE_AT_ONCE, AHEAD = 1000, 16

-- Moves due delayed jobs to the set.
local function collect_due(k, q, returned, delayed)
  local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, DUE_AT_ONCE)
  for _, member in ipairs(due) do
    redis.call('ZREM', delayed, member)
    redis.call('ZADD', returned, split_delayed(member))
  end
  if #due > 0 then
    add_delayed(k, -#due)
  end
  q.late, q.back, q.collected = q.late - #due, q.back + #due, #due > 0 or q.collected
end

-- Reads never delivered jobs: first one, then more and more at a time.
local function read_ahead(q, jobs)
  local count = math.min(q.next - q.head, 2 * #q.ahead, AHEAD)
  local fields = {}
  for i = 1, count do
    fields[i] = string.format(':%d', q.head + i - 1)
  end
  q.ahead = redis.call('HMGET', jobs, unpack(fields))
  q.records, q.ahead_of = redis.call('HMGET', jobs, unpack(q.ahead)), q.head
end

local function next_job(k, q)
  local jobs = k.jobs .. q.id
  if q.late > 0 then
    collect_due(k, q, k.returned .. q.id, k.delayed .. q.id)
  end
  if q.back > 0 then
    local at = q.restored and #q.restored or 0
    local first = redis.call('ZRANGE', k.returned .. q.id, at, at, 'WITHSCORES')
    q.from_set = q.next == q.head or tonumber(first[2] or 0) < q.head
    if q.from_set then
      return first[1], redis.call('HGET', jobs, first[1])
    end
  elseif q.from_set then
    q.from_set = false
  end
  if q.next == q.head then
    return nil
  elseif q.first ~= '' then
    return string.match(q.first, '^(%S+) (.*)$')
  end
  if not q.ahead or q.apart > 0 then
    local job_id = redis.call('HGET', jobs, string.format(':%d', q.head))
    q.ahead, q.ahead_of = {job_id}, q.head
    return job_id, job_id and redis.call('HGET', jobs, job_id)
  end
  local at = q.head - q.ahead_of + 1
  if at > #q.ahead then
    read_ahead(q, jobs)
    at = 1
  end
  return q.ahead[at], q.records[at]
end
