-- The bulk of a type's dead letters that runs, or that ran last, if it ended within an hour.
-- KEYS: void dead
-- ARGV:
-- Returns: {id, kind, queue_id, reason, error, before, limit, state, when it began (ms), moved, conflicts, those
--   that it has not looked at}
--@include clock dead_keys bulk open
local dead = KEYS[2]
check_open(dead)
local bulk = load_bulk(dead)
if not bulk then
  return {}
end
local left = 0
if bulk.state ~= DONE then
  left = redis.call('ZCOUNT', order_key(dead), '(' .. bulk.at, bulk.upto)
  left = bulk.limit == '' and left or math.min(left, bulk.limit - bulk.moved)
end
return {
  bulk.id, bulk.kind, bulk.queue_id, bulk.reason, bulk.error, bulk.before, bulk.limit, bulk.state, bulk.started,
  bulk.moved, bulk.conflicts, left,
}
