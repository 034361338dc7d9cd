-- Removes leased jobs that are elsewhere by now, as far as they still have the leases and the payloads that were read.
-- Leaves a receipt, by which a repeated call gets the same answer.
-- KEYS: receipts payloads active active_types {requeues} lock?
-- ARGV: owner queue_type token {queue_id job_id end digest}
-- Returns: a digit for each job (1: removed), or `lost` if the lock is another's by now
local kind, token, out = ARGV[2], ARGV[3], {}
local receipt = redis.call('HGET', KEYS[1], kind)
if receipt and string.sub(receipt, 1, #token + 1) == token .. ' ' then
  return string.sub(receipt, #token + 2)
elseif ARGV[1] ~= '' and redis.call('GET', KEYS[#KEYS]) ~= ARGV[1] then
  return 'lost'
end
for i = 4, #ARGV, 4 do
  local job_id = ARGV[i + 1]
  local member = ARGV[i] == '' and job_id or ARGV[i] .. ':' .. job_id
  local field = kind .. ':' .. member
  local same = redis.call('ZSCORE', KEYS[3], member) == ARGV[i + 2]
    and redis.sha1hex(redis.call('HGET', KEYS[2], field) or '') == ARGV[i + 3]
  if same then
    redis.call('ZREM', KEYS[3], member)
    redis.call('HDEL', KEYS[2], field)
    redis.call('HDEL', KEYS[4 + i / 4], job_id)
  end
  out[#out + 1] = same and '1' or '0'
end
if redis.call('EXISTS', KEYS[3]) == 0 then
  redis.pcall('SREM', KEYS[4], kind)
end
redis.call('HSET', KEYS[1], kind, token .. ' ' .. table.concat(out))
return table.concat(out)
