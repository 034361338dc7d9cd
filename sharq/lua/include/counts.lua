-- Reads the counters of the last ten minutes, the current one first: minute (ms), enqueues,
-- dequeues, and so on; of one queue, or of the whole type if `queue_id` is nil: then also the leases that have ended
-- without a finish, and how many there were at its beginning (-1: nothing was counted in the minute).
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
  local out, minute = {}, math.floor(now / 60000)
  local _, _, newest = totals_of(counters)
  for ago = 0, 9 do
    local bucket, last = counters .. (minute - ago), #out
    local sums = redis.call('HMGET', bucket .. ':past', 'e', 'd', 'o', 'a')
    if bucket == newest then
      local more = redis.call('HMGET', bucket, 'e', 'd', 'o', 'a')
      for at = 1, 3 do
        sums[at] = (sums[at] or 0) + (more[at] or 0)
      end
      sums[4] = sums[4] or more[4]
    end
    local enqueued, dequeued = tonumber(sums[1] or 0), tonumber(sums[2] or 0)
    out[last + 1] = (minute - ago) * 60000
    if queue_id then
      out[last + 2] = enqueued > 0 and count_of(bucket, 'e', queue_id, enqueued) or 0
      out[last + 3] = dequeued > 0 and count_of(bucket, 'd', queue_id, dequeued) or 0
    else
      out[last + 2], out[last + 3] = enqueued, dequeued
      out[last + 4], out[last + 5] = tonumber(sums[3] or 0), tonumber(sums[4] or -1)
    end
  end
  return out
end
