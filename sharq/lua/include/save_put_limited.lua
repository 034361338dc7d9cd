-- Writes the changes noted by `put_limited`; returns when the type's first job may go (ms), or nil.
-- k: jobs returned delayed counters limit, and what `open_levels` adds
local function save_put_limited(k, list, total)
  local states, changed = {}, {}
  for _, q in ipairs(list) do
    if q.counted then
      changed[#changed + 1] = q
      states[#states + 1], states[#states + 2] = q.key, encode_queue(q)
      touch(k, q.home)
      touch(k, q.group)
    end
  end
  redis.call('MSET', unpack(states))
  for _, q in ipairs(changed) do
    if q.fields then
      redis.call('HSET', k.jobs .. q.id, unpack(q.fields))
    end
    if q.removed then
      redis.call('HDEL', k.jobs .. q.id, unpack(q.removed))
    end
    if q.returned then
      redis.call('ZADD', k.returned .. q.id, unpack(q.returned))
    end
    if q.delayed then
      redis.call('ZADD', k.delayed .. q.id, unpack(q.delayed))
      add_delayed(k, #q.delayed / 2)
    end
    if q.waiting > 0 then
      take_turn(k, q)
    end
  end
  count_many(k, 'e', list, total)
  --@audit
  return save_levels(k)
end
