-- Counters of a minute. The bucket has the sums of the type: `e` and `d`, its enqueues and dequeues, whose shards
-- have those of each queue; `w` and `l`, how many jobs waited and how many of them were delayed when it began, and
-- `c` and `k`, by how much else these have changed since; `a`, how many were leased then, and `o`, how many
-- leases have ended since without a finish. There is one, which `last` names, while the type has jobs. When
-- the next one begins, what concerns the minute alone goes on as `:past`.
-- k: counters held
local COUNTERS_TTL = 660000

-- How many jobs of the type wait, how many of them are delayed, the bucket, if there is one, and its sums.
local function totals_of(counters)
  local last = redis.call('GET', counters .. 'last')
  local bucket = last and counters .. last
  local sums = bucket and redis.call('HMGET', bucket, 'w', 'e', 'd', 'c', 'l', 'k') or {}
  for at = 1, 6 do
    sums[at] = sums[at] or 0
  end
  return sums[1] + sums[2] - sums[3] + sums[4], sums[5] + sums[6], bucket, sums
end

-- Adds to a sum of the type. Of `e` and `d` it returns the arguments of `count_queue`: the shards' bucket and
-- spread. A dequeue has written its leases before, and a lease that has ended is gone.
local function count_type(k, kind, more)
  local minute = math.floor(now / 60000)
  local bucket = k.counters .. minute
  local sum = redis.call('HINCRBY', bucket, kind, more)
  if sum == more and redis.call('HEXISTS', bucket, 'w') == 0 then
    local waiting, delayed, last = totals_of(k.counters)
    if last then
      local past, sums = last .. ':past', redis.call('HMGET', last, 'a', 'e', 'd', 'o')
      redis.call('HSET', past, 'a', redis.call('HGET', past, 'a') or sums[1] or 0)
      for at, name in ipairs({'e', 'd', 'o'}) do
        redis.call('HINCRBY', past, name, sums[at + 1] or 0)
      end
      expire(past, COUNTERS_TTL + math.max(0, string.match(last, '%d+$') * 60000 - now))
      redis.call('UNLINK', last)
    end
    local leased = redis.call('HLEN', k.held) - (kind == 'd' and more or kind == 'o' and -more or 0)
    redis.call('HSET', bucket, 'w', waiting, 'l', delayed, 'a', leased)
    redis.call('SET', k.counters .. 'last', minute)
  end
  return bucket .. ':' .. kind, spread_of(sum)
end

local function count_queue(bucket, spread, queue_id, more)
  local shard = shard_of(bucket, queue_id, spread)
  if redis.call('HINCRBY', shard, queue_id, more) == more and redis.call('HLEN', shard) == 1 then
    expire(shard, COUNTERS_TTL)
  end
end
