-- Counters of a minute. The bucket has the sums of the type, `e` and `d`; its shards have those of
-- each queue, separately for the two kinds.
local COUNTERS_TTL = 660000

local function counter_bucket(counters, minutes_ago)
  return counters .. (math.floor(now / 60000) - minutes_ago)
end

-- Adds to the sum of the type. Returns the arguments of `count_queue`: the shards' bucket and
-- spread.
local function count_type(counters, kind, more)
  local bucket = counter_bucket(counters, 0)
  local sum = redis.call('HINCRBY', bucket, kind, more)
  if sum == more then
    expire(bucket, COUNTERS_TTL)
  end
  return bucket .. ':' .. kind, spread_of(sum)
end

local function count_queue(bucket, spread, queue_id, more)
  local shard = shard_of(bucket, queue_id, spread)
  if redis.call('HINCRBY', shard, queue_id, more) == more and redis.call('HLEN', shard) == 1 then
    expire(shard, COUNTERS_TTL)
  end
end
