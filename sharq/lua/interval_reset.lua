-- Gives the interval of a queue back to its producers: the next enqueue sets it.
-- KEYS: void queue active
-- ARGV: interval_retention
-- Returns: status (success, not_found)
--@include status clock queue
local key, active = KEYS[2], KEYS[3]
local q = load_queue(key)
if q.waiting == 0 and redis.call('EXISTS', active) == 0 then
  begin_anew(q)
end
if not q.api then
  return NOT_FOUND
end
redis.call('HDEL', key, ':s')
settle_if_idle(key, active, tonumber(ARGV[1]))
return SUCCESS
