-- The dead letters of a type: `queue_id/job_id` in the order of their deaths, and in `dead` itself the death of the
-- last one, the bytes of all, and how many fell out of the bounds or were dropped.
local COUNTS_TTL = 86400000

-- Counts those of a queue; with a new one come the `limits` of the queue.
local function count_letter(dead, queue_id, change, limits)
  local key = limits_key(dead)
  local count, old = string.match(redis.call('HGET', key, queue_id) or '0 ', '^(%d+) (.*)$')
  count = count + change
  if count > 0 then
    redis.call('HSET', key, queue_id, string.format('%d %s', count, limits or old))
  else
    redis.call('HDEL', key, queue_id)
  end
end

-- Removes a dead letter; returns whether there was one.
local function remove_letter(dead, member)
  local about, payloads = about_key(dead), payloads_key(dead)
  if redis.call('ZREM', order_key(dead), member) == 0 then
    return false
  end
  local size = #member + redis.call('HSTRLEN', about, member) + redis.call('HSTRLEN', payloads, member)
  redis.call('HDEL', about, member)
  redis.call('HDEL', payloads, member)
  redis.call('HINCRBY', dead, 'bytes', -size)
  count_letter(dead, string.match(member, '^[^/]+'), -1)
  if redis.call('EXISTS', order_key(dead)) == 0 then
    expire(dead, COUNTS_TTL)
  end
  return true
end

-- Removes one that nobody has asked to remove. `why`: jobs, bytes, age or replaced.
local function drop_letter(dead, member, why)
  if remove_letter(dead, member) then
    redis.call('HINCRBY', dead, 'fallen', 1)
    --@audit 'fallen', member, 'why', why
  end
end
