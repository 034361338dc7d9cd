-- Sets a queue's interval by the API: from now on an enqueue does not change it.
-- KEYS: void ready waiting queue active delayed
-- ARGV: interval_retention queue_id interval
-- Returns: status (success, not_found)
--@include status clock queue schedule waiting wake
local ready, key, active, delayed = KEYS[2], KEYS[4], KEYS[5], KEYS[6]
local q = load_queue(key)
local leased = redis.call('EXISTS', active) == 1
if q.waiting == 0 and not leased then
  begin_anew(q)
end
if not q.interval then
  return NOT_FOUND
end
change_interval(q, tonumber(ARGV[3]))
redis.call('HSET', key, ':i', q.interval, ':t', q.tat, ':s', 1)
if q.waiting > 0 then
  wake(KEYS[3], reschedule(ready, ARGV[2], q, delayed))
else
  settle_if_idle(key, active, tonumber(ARGV[1]))
end
return SUCCESS
