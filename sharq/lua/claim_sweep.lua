-- Decides which server sweeps: the first one to ask, for `hold` ms.
-- KEYS: sweep
-- ARGV: hold
-- Returns: 1 where it is this one, else 0
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
-- A removal first, so that it works in a full store.
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], 1, 'PX', ARGV[1])
return 1
