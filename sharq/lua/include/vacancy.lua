-- Of a type with jobs a minute begins in time. A removal of nothing comes first, so that it works in a full store.
local function begin_minute(k)
  redis.call('HDEL', k.held, '')
  count_type(k, 'o', 0)
end

-- Whether nothing is set or counted for a type without jobs. What its counters say of jobs is corrected, where
-- keys were removed from outside; they go when they are as old as those that expire.
local function is_vacant(limit, k)
  local kept = kept_key(limit)
  local waiting, delayed, last = totals_of(k.counters)
  if last and tonumber(string.match(last, '%d+$')) < (now - COUNTERS_TTL) / 60000 then
    redis.call('UNLINK', last, k.counters .. 'last')
    last = nil
  elseif last and (waiting ~= 0 or delayed ~= 0) then
    redis.call('HINCRBY', last, 'c', -waiting)
    redis.call('HINCRBY', last, 'k', -delayed)
  end
  if redis.call('EXISTS', kept) == 1 then
    redis.call('ZREMRANGEBYSCORE', kept, '-inf', now)
  end
  return not last and redis.call('EXISTS', kept) == 0
end
