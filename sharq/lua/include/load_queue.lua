-- Reads one queue.
local function load_queue(key, queue_id)
  local q = decode_queue(key, redis.call('GET', key))
  q.id = queue_id
  return q
end
