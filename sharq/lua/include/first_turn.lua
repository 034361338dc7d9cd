-- When the type's first job may go by all limits (ms), or nil if none is scheduled.
local function first_turn(k)
  local first = tonumber(redis.call('ZRANGE', k.line, 0, 0, 'WITHSCORES')[2] or 'inf')
  local at = k.type and math.max(first, allowed_at(k.type)) or first
  return at < math.huge and at or nil
end
