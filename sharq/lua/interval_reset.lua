-- Lets the next enqueue set the interval of a queue again.
-- KEYS: void held queue
-- ARGV: interval_retention
-- Returns: status (success, not_found)
--@include status clock queue load_queue encode rate save open
check_open(KEYS[2])
local q = load_queue(KEYS[3])
if q.waiting + q.leased == 0 then
  begin_anew(q)
end
if not q.api then
  return NOT_FOUND
end
q.api = false
-- A removal first, so that it works in a full store.
redis.call('DEL', KEYS[3])
save_queue(q, tonumber(ARGV[1]))
--@audit 'reset', string.match(KEYS[3], '[^:]+$')
return SUCCESS
