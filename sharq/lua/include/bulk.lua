-- A retry or a deletion of many dead letters: it goes on from the death `at`, in steps, to the last death before it
-- began, `upto`. One server at a time makes them: `owner`, until `till` (ms), or `sweep`, the one that sweeps.
local RUNNING, DONE, CANCELLED = 'running', 'done', 'cancelled'
local BULK_TTL = 3600000

local FIELDS = {
  'id', 'kind', 'queue_id', 'reason', 'error', 'before', 'limit', 'state', 'started', 'moved', 'conflicts',
  'at', 'upto', 'owner', 'till',
}

-- The present or the last one, or nil. A key of another kind is read as missing.
local function load_bulk(dead)
  local bulk = {}
  for i, value in ipairs(redis.pcall('HMGET', bulk_key(dead), unpack(FIELDS))) do
    bulk[FIELDS[i]] = value
  end
  return bulk.id and bulk or nil
end

local function is_unclaimed(bulk)
  return bulk.state == RUNNING and (bulk.owner == 'sweep' or tonumber(bulk.till) <= now)
end

-- It is kept for an hour after its end. Removes before it adds, so that it works in a full store.
local function end_bulk(dead, state)
  redis.call('HDEL', bulk_key(dead), 'owner')
  redis.call('HSET', bulk_key(dead), 'state', state)
  expire(bulk_key(dead), BULK_TTL)
end
