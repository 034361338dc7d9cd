-- Removes dead letters beyond the bounds of their type, the oldest first; returns whether there are more of them.
-- In damaged keys there are none, so that the ends of leases do not fail.
-- k: dead failing
local AT_ONCE = 100

local function beyond_bounds(k, died)
  local most, bytes, age = string.match(k.failing, '^(%d+):(%d+):(%d+):')
  return redis.call('ZCARD', order_key(k.dead)) > tonumber(most) and 'jobs'
    or tonumber(redis.call('HGET', k.dead, 'bytes') or 0) > tonumber(bytes) and 'bytes'
    or died + age * 1000 <= now_us and 'age'
end

local function trim_some(k)
  for _ = 1, AT_ONCE do
    local first = redis.call('ZRANGE', order_key(k.dead), 0, 0, 'WITHSCORES')
    local why = first[1] and beyond_bounds(k, first[2])
    if not why then
      return false
    end
    drop_letter(k.dead, first[1], why)
  end
  return true
end

local function trim(k)
  local readable, more = pcall(trim_some, k)
  if not readable then
    local problem = type(more) == 'table' and more.err or more
    redis.log(redis.LOG_WARNING, 'SharQ: ' .. k.dead .. ' is damaged: ' .. problem)
  end
  return readable and more
end
