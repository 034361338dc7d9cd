-- What comes next in a shard: 1 and the ms for which its next queue has been ready, -1 if none is. Returns it with
-- `next_at`, which is nil if a queue is ready that is too young for this call.
-- k: as it is left by `take_jobs` or `take_limited`
local function head_of(k, next_at)
  local first = next_at or k.turn
  if not first and not k.line then
    first = tonumber(redis.call('ZRANGE', k.ready, 0, 0, 'WITHSCORES')[2])
  end
  if not first or first * 1000 > now_us then
    return -1, next_at
  end
  return 1 + math.max(0, math.floor(now - first)), nil
end
