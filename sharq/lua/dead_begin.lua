-- Begins a bulk of a type's dead letters, unless one runs: of those that died before it, and that the filter
-- selects ('' selects all).
-- KEYS: void dead
-- ARGV: bulk_id kind queue_id reason error before limit
-- Returns: id of the one that runs, it was begun (1 or 0)
--@include clock dead_keys bulk
local dead = KEYS[2]
local bulk = load_bulk(dead)
if bulk and bulk.state == RUNNING then
  return {bulk.id, 0}
end
local upto = redis.call('HGET', dead, 'last') or '0'
if ARGV[6] ~= '' then
  upto = string.format('%.0f', math.min(upto, ARGV[6] * 1000 - 1))
end
redis.call('DEL', bulk_key(dead))
redis.call('HSET', bulk_key(dead), 'id', ARGV[1], 'kind', ARGV[2], 'queue_id', ARGV[3], 'reason', ARGV[4],
  'error', ARGV[5], 'before', ARGV[6], 'limit', ARGV[7], 'state', RUNNING, 'started', string.format('%.0f', now),
  'moved', '0', 'conflicts', '0', 'at', '0', 'upto', upto, 'owner', '', 'till', '0')
return {ARGV[1], 1}
