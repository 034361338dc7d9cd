-- A time bucket: many small fields that expire together. They are spread over shards by the
-- first hex digits of a hash; a shard that is full takes the whole bucket one digit (a level)
-- deeper. What was written stays on its level, so that a reader looks at one shard a level.
local SHARD_SIZE = 160

local function shard_at(bucket, member, level)
  if level == 0 then
    return bucket .. ':'
  end
  return bucket .. ':' .. string.sub(redis.sha1hex(member), 1, level)
end

local function bucket_level(bucket)
  return tonumber(redis.call('HGET', bucket, ':level') or 0)
end

local function shard_for(bucket, member, ttl)
  local level = bucket_level(bucket)
  local shard = shard_at(bucket, member, level)
  local size = redis.call('HLEN', shard)
  if size >= SHARD_SIZE then
    redis.call('HSET', bucket, ':level', level + 1)
    expire(bucket, ttl)
    shard = shard_at(bucket, member, level + 1)
    size = redis.call('HLEN', shard)
  end
  return shard, size == 0
end
