-- Opens a shard again that a change of the number of shards has closed, unless a later change than `generation` did.
-- KEYS: void ready leases held waiting limit dead sample moving opened
-- ARGV: generation
-- Returns: how it is (0: open, 1: opened now or within the last minute, 2: closed by a later change)
--@include clock level_keys dead_keys closing
local k = {
  ready = KEYS[2], leases = KEYS[3], held = KEYS[4], waiting = KEYS[5], limit = KEYS[6], dead = KEYS[7],
  sample = KEYS[8], moving = KEYS[9],
}
local before = closed_by(k)
if not before then
  return redis.call('EXISTS', KEYS[10])
elseif before > tonumber(ARGV[1]) then
  return 2
end
local texts, hashes = closed_keys(k)
redis.call('UNLINK', unpack(texts))
redis.call('UNLINK', unpack(hashes))
-- For those that have met it closed, and ask next.
local LATEST = 60000
set_for(KEYS[10], ARGV[1], LATEST)
return 1
