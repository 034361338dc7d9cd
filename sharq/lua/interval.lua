-- Sets a queue's interval by the API: enqueues no longer change it.
-- KEYS: void ready waiting queue delayed
-- ARGV: interval_retention queue_id interval
-- Returns: status (success, not_found)
--@include status clock queue rate save schedule waiting wake
local q = load_queue(KEYS[4])
if q.waiting + q.leased == 0 then
  begin_anew(q)
end
if not q.interval then
  return NOT_FOUND
end
q.id = ARGV[2]
change_interval(q, tonumber(ARGV[3]))
q.api = true
save_queue(q, tonumber(ARGV[1]))
--@audit 'interval', q.id, 'interval', q.interval
if q.waiting > 0 then
  wake(KEYS[3], reschedule(KEYS[2], q, KEYS[5]))
end
return SUCCESS
