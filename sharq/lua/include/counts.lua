-- Reads the counters of the last ten minutes, the current one first: minute (ms), enqueues,
-- dequeues, and so on; of one queue, or of the whole type if `queue_id` is nil.
local function count_of(bucket, kind, queue_id, total)
  local sum, spread = 0, 1
  while spread <= spread_of(total) do
    local shard = shard_of(bucket .. ':' .. kind, queue_id, spread)
    sum = sum + (redis.call('HGET', shard, queue_id) or 0)
    spread = spread * 4
  end
  return sum
end

local function counts(counters, queue_id)
  local out = {}
  for ago = 0, 9 do
    local bucket = counter_bucket(counters, ago)
    local sums = redis.call('HMGET', bucket, 'e', 'd')
    local enqueued, dequeued = tonumber(sums[1] or 0), tonumber(sums[2] or 0)
    if queue_id then
      enqueued = enqueued > 0 and count_of(bucket, 'e', queue_id, enqueued) or 0
      dequeued = dequeued > 0 and count_of(bucket, 'd', queue_id, dequeued) or 0
    end
    out[#out + 1] = (math.floor(now / 60000) - ago) * 60000
    out[#out + 1] = enqueued
    out[#out + 1] = dequeued
  end
  return out
end
