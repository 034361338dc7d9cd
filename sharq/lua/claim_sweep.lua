-- Decides which server sweeps: the first one to ask, for `hold` ms.
-- KEYS: sweep
-- ARGV: hold
-- Returns: 1 where it is this one, else 0
if redis.call('SET', KEYS[1], 1, 'NX', 'PX', ARGV[1]) then
  return 1
end
return 0
