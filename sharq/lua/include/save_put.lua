-- Writes the changes; returns the time (ms) of the earliest new turn, or nil.
-- k: ready jobs counters
local function save_put(k, list, total)
  local states, turns, earliest = {}, {}, nil
  for _, q in ipairs(list) do
    if q.fields then
      redis.call('HSET', k.jobs .. q.id, unpack(q.fields))
    end
    if q.counted then
      local last = #states
      states[last + 1], states[last + 2] = q.key, encode_queue(q)
    end
    if q.turn then
      local last = #turns
      turns[last + 1], turns[last + 2] = q.turn, q.id
      earliest = math.min(q.turn, earliest or q.turn)
    end
  end
  redis.call('MSET', unpack(states))
  if earliest then
    redis.call('ZADD', k.ready, unpack(turns))
  end
  count_many(k, 'e', list, total)
  --@audit
  return earliest
end
