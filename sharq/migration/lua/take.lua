-- Removes waiting jobs that are elsewhere by now, as far as they stand at the heads of their queues with the payloads
-- that were read. Leaves a receipt, by which a repeated call gets the same answer.
-- KEYS: receipts payloads ready ready_types {list requeues} lock?
-- ARGV: owner queue_type token {queue_id count {job_id digest}}
-- Returns: a digit for each job (1: removed), or `lost` if the lock is another's by now
local kind, token, out, at = ARGV[2], ARGV[3], {}, 4
local receipt = redis.call('HGET', KEYS[1], kind)
if receipt and string.sub(receipt, 1, #token + 1) == token .. ' ' then
  return string.sub(receipt, #token + 2)
elseif ARGV[1] ~= '' and redis.call('GET', KEYS[#KEYS]) ~= ARGV[1] then
  return 'lost'
end

-- How many of the jobs left the list at its head before; nil if others are there.
local function gone_before(list, ids)
  local there = redis.call('LRANGE', list, 0, #ids - 1)
  for gone = 0, #ids - 1 do
    local at = gone + 1
    while at <= #ids and there[at - gone] == ids[at] do
      at = at + 1
    end
    if at > #ids then
      return gone
    end
  end
end

local function remove(queue_id, list, requeues, ids, digests)
  local fields, gone = {}, gone_before(list, ids) or #ids
  for i = gone + 1, #ids do
    local field = kind .. ':' .. queue_id .. ':' .. ids[i]
    if redis.sha1hex(redis.call('HGET', KEYS[2], field) or '') ~= digests[i] then
      break
    end
    fields[#fields + 1] = field
  end
  for i = 1, #ids do
    out[#out + 1] = i > gone and i <= gone + #fields and '1' or '0'
  end
  if #fields > 0 then
    redis.call('LTRIM', list, #fields, -1)
    redis.call('HDEL', KEYS[2], unpack(fields))
    redis.call('HDEL', requeues, unpack(ids, gone + 1, gone + #fields))
  end
  if redis.call('EXISTS', list) == 0 then
    redis.pcall('ZREM', KEYS[3], queue_id)
  end
end

for q = 5, #KEYS - 1, 2 do
  local queue_id, ids, digests = ARGV[at], {}, {}
  for i = 1, tonumber(ARGV[at + 1]) do
    ids[i], digests[i] = ARGV[at + 2 * i], ARGV[at + 2 * i + 1]
  end
  at = at + 2 + 2 * #ids
  remove(queue_id, KEYS[q], KEYS[q + 1], ids, digests)
end
if redis.call('EXISTS', KEYS[3]) == 0 then
  redis.pcall('SREM', KEYS[4], kind)
end
local bits = table.concat(out)
redis.call('HSET', KEYS[1], kind, token .. ' ' .. bits)
return bits
