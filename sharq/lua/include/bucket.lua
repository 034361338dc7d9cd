-- A time bucket: many small entries that expire together. They are spread over shards by a hash, at
-- first over one; whenever about SHARD_SIZE entries a shard have come, over four times as many.
-- Entries stay where they are, so a reader checks one shard of each spread.
local SHARD_SIZE = 64

-- How many shards a bucket has when `total` entries have come.
local function spread_of(total)
  local spread = 1
  while total > SHARD_SIZE * spread do
    spread = spread * 4
  end
  return spread
end

-- Shard `spread` to `2 * spread - 1`, so that no two spreads share one.
local function shard_of(bucket, member, spread)
  if spread == 1 then
    return bucket .. ':1'
  end
  local hash = tonumber(string.sub(redis.sha1hex(member), 1, 8), 16)
  return bucket .. ':' .. (spread + hash % spread)
end
