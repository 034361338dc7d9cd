-- Marks of jobs that have ended: `queue_id/job_id` and `n:state`, the newest at the end, in buckets
-- of a quarter of the retention, so that a mark is kept for its retention, and at most a quarter of
-- it more. The bucket itself counts its marks. States: finished; dead; buried where a dead letter was made.
local TIDY, BURIED = 512, 'buried'

local function mark_bucket(marks, retention, at)
  return marks .. math.floor(at / math.ceil(retention / 4))
end

-- Keeps only the newest mark of each job: an id that ends repeatedly has only one shard.
local function tidy(shard)
  local all, newest, seen = redis.call('LRANGE', shard, 0, -1), {}, {}
  for i = #all - 1, 1, -2 do
    if not seen[all[i]] then
      seen[all[i]] = true
      newest[#newest + 1], newest[#newest + 2] = all[i + 1], all[i]
    end
  end
  redis.call('LTRIM', shard, -1, -1)
  redis.call('LPUSH', shard, unpack(newest))
  redis.call('RPOP', shard)
end

-- `ended` has members and marks in turn.
local function write_marks(marks, retention, ended)
  if retention == 0 or #ended == 0 then
    return
  end
  local bucket, more = mark_bucket(marks, retention, now), #ended / 2
  local ttl = retention + math.ceil(retention / 4)
  local total = redis.call('INCRBY', bucket, more)
  if total == more then
    expire(bucket, ttl)
  end
  local spread = spread_of(total)
  for i = 1, #ended, 2 do
    local shard = shard_of(bucket, ended[i], spread)
    local size = redis.call('RPUSH', shard, ended[i], ended[i + 1])
    if size == 2 then
      expire(shard, ttl)
    elseif size % TIDY == 0 then
      tidy(shard)
    end
  end
end
