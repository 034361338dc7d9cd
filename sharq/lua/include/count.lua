-- Counters of a minute. The bucket has the sums of the type, `e` and `d`; its shards have those of
-- each queue, for each of the two kinds by itself.
local COUNTERS_TTL = 660000

local function counter_bucket(counters, minutes_ago)
  return counters .. (math.floor(now / 60000) - minutes_ago)
end

-- Adds what queues have had: ids and, by id, how many.
local function count(counters, kind, ids, counted)
  local bucket, total = counter_bucket(counters, 0), 0
  for _, queue_id in ipairs(ids) do
    total = total + counted[queue_id]
  end
  local sum = redis.call('HINCRBY', bucket, kind, total)
  if sum == total then
    expire(bucket, COUNTERS_TTL)
  end
  local spread = spread_of(sum)
  bucket = bucket .. ':' .. kind
  for _, queue_id in ipairs(ids) do
    local shard = shard_of(bucket, queue_id, spread)
    local more = counted[queue_id]
    if redis.call('HINCRBY', shard, queue_id, more) == more and redis.call('HLEN', shard) == 1 then
      expire(shard, COUNTERS_TTL)
    end
  end
end
