-- The newest mark of a job: n and state, or nil.
local function read_mark(marks, retention, member)
  if retention == 0 then
    return nil
  end
  local width = math.ceil(retention / 4)
  for back = 0, 4 do
    local bucket = mark_bucket(marks, retention, now - back * width)
    local total = tonumber(redis.call('GET', bucket) or 0)
    local spread = total > 0 and spread_of(total) or 0
    while spread >= 1 do
      local shard = shard_of(bucket, member, spread)
      local at = redis.call('LPOS', shard, member, 'RANK', -1)
      if at then
        return string.match(redis.call('LINDEX', shard, at + 1), '^(%d+):(%a+)$')
      end
      spread = spread / 4
    end
  end
  return nil
end
