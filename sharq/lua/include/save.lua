-- Writes a queue's state. If neither a waiting nor a leased job is left, it is kept for the rest of
-- the interval, and an interval of the API for its `retention`.
local function save_queue(q, retention)
  if q.waiting + q.leased > 0 then
    redis.call('SET', q.key, encode_queue(q))
    return
  end
  q.retained = q.api and now + retention or 0
  local rest = math.max(q.interval and q.tat or 0, q.retained) - now
  if rest > 0 then
    set_for(q.key, encode_queue(q), rest)
  else
    redis.call('UNLINK', q.key)
  end
end
