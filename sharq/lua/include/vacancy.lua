-- Whether nothing is set or counted for a type without jobs.
local function is_vacant(limit, counters)
  local kept = kept_key(limit)
  if redis.call('EXISTS', kept) == 1 then
    redis.call('ZREMRANGEBYSCORE', kept, '-inf', now)
    if redis.call('EXISTS', kept) == 1 then
      return false
    end
  end
  for ago = 0, COUNTERS_TTL / 60000 do
    if redis.call('EXISTS', counter_bucket(counters, ago)) == 1 then
      return false
    end
  end
  return true
end
