-- Ends a leased job for good. `seldom`: what only limits need, `ready waiting delayed`.
-- KEYS: void leases held queue limit
-- ARGV: marks retention interval_retention queue_id/job_id n seldom
-- Returns: status (success, not_active, stale_lease, already_finished)
--@include status clock bucket mark
local member, n, retention, key = ARGV[4], ARGV[5], tonumber(ARGV[2]), KEYS[4]
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
local texts = redis.call('MGET', key, KEYS[5])
local before, tat, head, next, leased, behind =
  string.match(texts[1], '^(%d+:(%d+):(%d+):(%d+):)(%d+)(.*)$')
if not before or texts[2] or (behind ~= ' ' and head == next and leased == '1') then
  --@include queue encode rate save level level_keys levels leases turns first_turn save_levels waiting wake end_leases
  local ready, waiting, delayed = string.match(ARGV[6], '^(%S+) (%S+) (%S+)$')
  local k = {ready = ready, limit = KEYS[5], delayed = delayed, retention = tonumber(ARGV[3])}
  open_levels(k, texts[2])
  local q = decode_queue(key, texts[1])
  q.id, q.ended = string.match(member, '^[^/]+'), 1
  end_leases(k, {q}, waiting)
elseif head ~= next or leased ~= '1' then
  redis.call('SET', key, before .. string.format('%d', leased - 1) .. behind)
elseif tonumber(tat) > now then
  set_for(key, before .. '0 ', tat - now)
else
  redis.call('UNLINK', key)
end
write_marks(ARGV[1], retention, {member, own .. ':' .. FINISHED})
--@audit 'finish', member, 'n', own
return SUCCESS
