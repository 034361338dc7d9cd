-- Enters a type in the registry, or renews its entry.
-- KEYS: types
-- ARGV: queue_type
-- Returns: 1 where it is new, else 0
--@include clock
return redis.call('ZADD', KEYS[1], now, ARGV[1])
