-- Counters of a minute. The bucket has the sums of the type, `e` and `d`; its shards have those of
-- each queue, for each of the two kinds by itself.
local COUNTERS_TTL = 660000

local function counter_bucket(counters, minutes_ago)
  return counters .. (math.floor(now / 60000) - minutes_ago)
end

-- Adds the `counted` of each queue, if any; `total` is their sum.
local function count(counters, kind, list, total)
  local bucket = counter_bucket(counters, 0)
  local sum = redis.call('HINCRBY', bucket, kind, total)
  if sum == total then
    expire(bucket, COUNTERS_TTL)
  end
  local spread = spread_of(sum)
  bucket = bucket .. ':' .. kind
  for _, q in ipairs(list) do
    local more = q.counted
    if more then
      local shard = shard_of(bucket, q.id, spread)
      if redis.call('HINCRBY', shard, q.id, more) == more and redis.call('HLEN', shard) == 1 then
        expire(shard, COUNTERS_TTL)
      end
    end
  end
end
