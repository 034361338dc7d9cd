-- Closes a shard for a change of the number of shards, if nothing is there that the change would lose. Servers that wait
-- for its jobs are woken.
-- KEYS: void ready leases held waiting limit dead sample moving
-- ARGV: generation
-- Returns: {what is there}
--@include clock level_keys levels dead_keys bulk closing
local k = {
  ready = KEYS[2], leases = KEYS[3], held = KEYS[4], waiting = KEYS[5], limit = KEYS[6], dead = KEYS[7],
  sample = KEYS[8], moving = KEYS[9],
}
local generation, before = tonumber(ARGV[1]), closed_by(k)
local found = {}

local function look(what, ...)
  if redis.call('EXISTS', ...) > 0 then
    found[#found + 1] = what
  end
end

if not before then
  local level = decode_level(redis.call('GET', k.limit) or nil)
  local limited = level.interval + level.burst_api + level.slots_api > 0 or level.paused > now
  redis.call('ZREMRANGEBYSCORE', kept_key(k.limit), '-inf', now)
  look('jobs', k.ready, line_key(k.limit), groups_key(k.limit))
  look('leases', k.leases, k.held)
  if limited or redis.call('EXISTS', kept_key(k.limit)) == 1 then
    found[#found + 1] = 'limits or pauses'
  end
  look('dead letters', order_key(k.dead))
  look('jobs that move here', k.moving)
  local bulk = load_bulk(k.dead)
  if bulk and bulk.state == RUNNING then
    found[#found + 1] = 'a bulk of dead letters'
  end
end
if #found > 0 then
  return found
end
local servers = before and {} or redis.call('HGETALL', k.waiting)
local texts, hashes = closed_keys(k)
for _, key in ipairs(texts) do
  redis.call('SET', key, math.max(generation, before or 0))
end
for _, key in ipairs(hashes) do
  redis.call('DEL', key)
  redis.call('HSET', key, 'closed', generation)
end
for i = 1, #servers, 2 do
  redis.pcall('PUBLISH', servers[i], k.waiting)
end
return found
