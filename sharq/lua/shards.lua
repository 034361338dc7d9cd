-- Puts what is known of a type's shards, `following`, in the place of what is there, if that is `former`; an empty
-- one only looks. With `begins` (1) a change begins, or goes on: the time comes behind it. See docs/keyspace.md.
-- KEYS: void shards
-- ARGV: former following begins
-- Returns: what is there now (empty: nothing), the time (ms)
--@include clock
local is, following = redis.call('GET', KEYS[2]) or '', ARGV[2]
if following ~= '' and is == ARGV[1] then
  is = following
  if ARGV[3] == '1' then
    is = string.format('%s %.0f', following, now)
  end
  redis.call('SET', KEYS[2], is)
end
return {is, now}
