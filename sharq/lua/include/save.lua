-- Writes the states of queues. Where neither a waiting nor a leased job is left, the state lives on
-- for what remains of the interval, and an interval of the API for its `retention`.
local function save_queues(list, retention)
  local states, gone, ends = {}, {}, {}
  for _, q in ipairs(list) do
    local rest = 1
    if q.waiting + q.leased == 0 then
      q.retained = q.api and now + retention or 0
      rest = math.max(q.interval and q.tat or 0, q.retained) - now
      ends[q.key] = rest > 0 and rest or nil
    end
    if rest > 0 then
      states[#states + 1], states[#states + 2] = q.key, encode_queue(q)
    else
      gone[#gone + 1] = q.key
    end
  end
  if #gone > 0 then
    redis.call('UNLINK', unpack(gone))
  end
  if #states > 0 then
    redis.call('MSET', unpack(states))
  end
  for key, rest in pairs(ends) do
    expire(key, rest)
  end
end
