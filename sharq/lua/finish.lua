-- Ends a leased job for good.
-- KEYS: void leases held queue
-- ARGV: marks retention interval_retention queue_id job_id n
-- Returns: status (success, not_active, stale_lease, already_finished)
--@include status clock bucket mark
local member, n, retention, key = ARGV[4] .. '/' .. ARGV[5], ARGV[6], tonumber(ARGV[2]), KEYS[4]
local record = redis.call('HGET', KEYS[3], member)
if not record then
  --@include read_mark refusal
  return refusal_of(ARGV[1], retention, member, n)
end
local own = string.match(record, '^%d+')
if n ~= '' and n ~= own then
  return STALE_LEASE
end
redis.call('HDEL', KEYS[3], member)
redis.call('ZREM', KEYS[2], member)
-- As `save_queue`, without splitting the state if only one number changes.
local text = redis.call('GET', key)
local before, tat, head, next, leased, behind =
  string.match(text, '^(%d+:(%d+):(%d+):(%d+):)(%d+)(.*)$')
if head ~= next or leased ~= '1' then
  redis.call('SET', key, before .. string.format('%d', leased - 1) .. behind)
elseif behind ~= ' ' then
  --@include queue save
  local q = decode_queue(key, text)
  q.leased = 0
  save_queue(q, tonumber(ARGV[3]))
elseif tonumber(tat) > now then
  set_for(key, before .. '0 ', tat - now)
else
  redis.call('UNLINK', key)
end
write_marks(ARGV[1], retention, {member, own .. ':' .. FINISHED})
--@audit 'finish', member, 'n', own
return SUCCESS
