-- Counters of a minute: `e` and `d` of the bucket for the type, `e/<queue_id>` and
-- `d/<queue_id>` of its shards for each queue.
local COUNTERS_TTL = 660000

local function counter_bucket(counters, minutes_ago)
  return counters .. (math.floor(now / 60000) - minutes_ago)
end

local function count(counters, kind, queue_id)
  local bucket = counter_bucket(counters, 0)
  if redis.call('HINCRBY', bucket, kind, 1) == 1 then
    expire(bucket, COUNTERS_TTL)
  end
  local shard, new = shard_for(bucket, queue_id, COUNTERS_TTL)
  redis.call('HINCRBY', shard, kind .. '/' .. queue_id, 1)
  if new then
    expire(shard, COUNTERS_TTL)
  end
end
