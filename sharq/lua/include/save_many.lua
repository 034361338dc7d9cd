-- Writes the states of queues: of those with jobs, and of those without any, at once.
local function save_queues(list, retention)
  local states, gone = {}, {}
  for _, q in ipairs(list) do
    if q.waiting + q.leased > 0 then
      local last = #states
      states[last + 1], states[last + 2] = q.key, encode_queue(q)
    elseif q.tat > now or q.api then
      save_queue(q, retention)
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
end
