-- Marks of jobs that have ended: `queue_id/job_id` -> `n:state`, in buckets of a quarter of
-- the retention, so that a mark is kept for its retention and a quarter of it at most.
local function mark_bucket(marks, retention, at)
  return marks .. math.floor(at / math.ceil(retention / 4))
end

local function write_mark(marks, retention, member, n, state)
  if retention == 0 then
    return
  end
  local ttl = retention + math.ceil(retention / 4)
  local shard, new = shard_for(mark_bucket(marks, retention, now), member, ttl)
  redis.call('HSET', shard, member, n .. ':' .. state)
  if new then
    expire(shard, ttl)
  end
end

-- The newest mark of a job: n and state, or nil.
local function read_mark(marks, retention, member)
  if retention == 0 then
    return nil
  end
  local width = math.ceil(retention / 4)
  for back = 0, 4 do
    local bucket = mark_bucket(marks, retention, now - back * width)
    for level = bucket_level(bucket), 0, -1 do
      local mark = redis.call('HGET', shard_at(bucket, member, level), member)
      if mark then
        return string.match(mark, '^(%d+):(%a+)$')
      end
    end
  end
  return nil
end
