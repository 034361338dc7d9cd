-- Reads the counters of the last ten minutes, the current one first: minute (ms), enqueues,
-- dequeues, and so on; of one queue, or of the whole type where `queue_id` is nil.
local function counts(counters, queue_id)
  local out = {}
  for ago = 0, 9 do
    local bucket = counter_bucket(counters, ago)
    local enqueued, dequeued = 0, 0
    if not queue_id then
      local sums = redis.call('HMGET', bucket, 'e', 'd')
      enqueued, dequeued = tonumber(sums[1] or 0), tonumber(sums[2] or 0)
    else
      for level = 0, bucket_level(bucket) do
        local shard = shard_at(bucket, queue_id, level)
        local part = redis.call('HMGET', shard, 'e/' .. queue_id, 'd/' .. queue_id)
        enqueued = enqueued + tonumber(part[1] or 0)
        dequeued = dequeued + tonumber(part[2] or 0)
      end
    end
    out[#out + 1] = (math.floor(now / 60000) - ago) * 60000
    out[#out + 1] = enqueued
    out[#out + 1] = dequeued
  end
  return out
end
