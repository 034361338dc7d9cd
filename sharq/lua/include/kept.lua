-- What is set without jobs, so that the type stays registered: `=group`, `=` for the type, and queues
-- that are paused, by the time until which it is set (ms; inf: until it is given back).
local function keep(k, member, level)
  local till = level.paused or 0
  if level.slots_api and has_limits(level) then
    till = math.huge
  end
  if till > now then
    redis.call('ZADD', kept_key(k.limit), till, member)
  else
    redis.call('ZREM', kept_key(k.limit), member)
  end
end
