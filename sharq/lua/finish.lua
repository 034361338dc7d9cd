-- Ends a leased job for good.
-- KEYS: void leases held queue
-- ARGV: marks retention interval_retention queue_id job_id n
-- Returns: status (success, not_active, stale_lease, already_finished)
--@include status clock queue save bucket mark read_mark refusal
local member, n, retention = ARGV[4] .. '/' .. ARGV[5], ARGV[6], tonumber(ARGV[2])
local record = redis.call('HGET', KEYS[3], member)
if not record then
  return refusal_of(ARGV[1], retention, member, n)
end
local own = number_of(record)
if n ~= '' and n ~= own then
  return STALE_LEASE
end
local q = load_queue(KEYS[4])
q.leased = q.leased - 1
redis.call('HDEL', KEYS[3], member)
redis.call('ZREM', KEYS[2], member)
save_queue(q, tonumber(ARGV[3]))
write_marks(ARGV[1], retention, {member, own .. ':' .. FINISHED})
return SUCCESS
