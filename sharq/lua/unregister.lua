-- Removes a type that was found vacant, unless it was registered less than `age` ms ago.
-- KEYS: types
-- ARGV: queue_type age
-- Returns: 1 where it was removed, else 0
--@include clock
local registered = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not registered or now - registered < tonumber(ARGV[2]) then
  return 0
end
return redis.call('ZREM', KEYS[1], ARGV[1])
