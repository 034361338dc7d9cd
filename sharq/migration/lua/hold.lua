-- Goes on holding the lock for `ms`, or with 0 gives it back.
-- KEYS: lock
-- ARGV: owner ms
-- Returns: whether it was held (1 or 0)
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
elseif ARGV[2] == '0' then
  return redis.call('DEL', KEYS[1])
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
