-- Sets a queue's interval by the API: enqueues no longer change it.
-- KEYS: void ready waiting limit queue
-- ARGV: delayed interval_retention queue_id interval
-- Returns: status (success, not_found)
--@include status clock queue load_queue encode rate save more level change_rate level_keys levels leases turns first_turn save_levels waiting wake
local type_text = redis.call('GET', KEYS[4])
local q = load_queue(KEYS[5], ARGV[3])
if q.waiting + q.leased == 0 then
  begin_anew(q)
end
if not q.interval then
  return NOT_FOUND
end
local k = {ready = KEYS[2], limit = KEYS[4], delayed = ARGV[1]}
open_levels(k, type_text)
with_more(q)
change_rate(q, tonumber(ARGV[4]))
q.api = true
save_queue(q, tonumber(ARGV[2]))
--@audit 'interval', q.id, 'interval', q.interval
if q.waiting > 0 then
  take_turn(k, q)
  wake(KEYS[3], save_levels(k))
end
return SUCCESS
