-- Puts a chunk of jobs that are to come from another store, as `text`, in the place of the one with the token `former`
-- (empty: none), or removes that if `token` is empty; `?` only looks. Anything else changes nothing: somebody
-- else has put one there.
-- KEYS: void moving
-- ARGV: former token text
-- Returns: token of the chunk that was there (empty: none), its text, and how they were taken over (empty: not yet)
local key, token = KEYS[2], ARGV[2]
local was = redis.call('HMGET', key, 'token', 'text', 'statuses')
if ARGV[1] == (was[1] or '') then
  if token == '' then
    redis.call('UNLINK', key)
  else
    -- Begins with what needs memory: a full store takes no chunk.
    redis.call('HSET', key, 'token', token, 'text', ARGV[3])
    redis.call('HDEL', key, 'statuses')
  end
end
return {was[1] or '', was[2] or '', was[3] or ''}
