-- The first turn of a type of which nothing is known. Only one without a schedule in `ready` can have limits.
local function first_of(ready, limit)
  local at = tonumber(redis.call('ZRANGE', ready, 0, 0, 'WITHSCORES')[2])
  if at then
    return at < math.huge and at or nil
  end
  local k = {ready = ready, limit = limit}
  open_levels(k, redis.call('GET', limit))
  return first_turn(k)
end
