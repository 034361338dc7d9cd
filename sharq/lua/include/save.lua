-- Writes a queue's state. If neither a waiting nor a leased job is left, it is kept for the rest of
-- the interval, what the API has set for its `retention`, and a pause to its end.
local function save_queue(q, retention)
  if q.waiting + q.leased > 0 then
    redis.call('SET', q.key, encode_queue(q))
    return
  end
  local paused = q.paused or 0
  q.retained = has_api_limits(q) and now + retention or 0
  local rest = math.max(q.interval and q.tat or 0, q.retained, paused) - now
  if paused == math.huge then
    redis.call('SET', q.key, encode_queue(q))
  elseif rest > 0 then
    set_for(q.key, encode_queue(q), math.ceil(rest))
  else
    redis.call('UNLINK', q.key)
  end
end
