-- Ends up to a hundred leased jobs of one type, in order, each as `finish` would. `seldom`: what only limits
-- need, `ready waiting delayed`.
-- KEYS: void leases held limit
-- ARGV: queues marks retention interval_retention seldom {queue_id job_id n}
-- Returns: {status}
--@include status clock queue encode queues rate save save_many bucket mark read_mark refusal
local members, out = {}, {}
for i = 6, #ARGV, 3 do
  members[#members + 1] = ARGV[i] .. '/' .. ARGV[i + 1]
end
if #members == 0 then
  return out
end
local retention = tonumber(ARGV[3])
local records = redis.call('HMGET', KEYS[3], unpack(members))
local gone, ids, marks, ended = {}, {}, {}, {}
for at, member in ipairs(members) do
  local i, record = 3 + 3 * at, records[at]
  local n, own = ARGV[i + 2], record and number_of(record)
  if ended[member] then
    local again = retention > 0 and (n == '' or n == own)
    out[at] = again and ALREADY_FINISHED or NOT_ACTIVE
  elseif not record then
    out[at] = refusal_of(ARGV[2], retention, member, n)
  elseif n ~= '' and n ~= own then
    out[at] = STALE_LEASE
  else
    local last = #gone
    gone[last + 1], ids[last + 1], ended[member], out[at] = member, ARGV[i], true, SUCCESS
    marks[2 * last + 1], marks[2 * last + 2] = member, own .. ':' .. FINISHED
    --@note 'finish', member, 'n', own
  end
end
if #gone == 0 then
  return out
end

local list, queues, type_text = load_queues(ARGV[1], ids, KEYS[4])
local limited = type_text
for _, queue_id in ipairs(ids) do
  local q = queues[queue_id]
  q.ended, limited = (q.ended or 0) + 1, limited or q.more
end
redis.call('HDEL', KEYS[3], unpack(gone))
redis.call('ZREM', KEYS[2], unpack(gone))
if limited then
  --@include level level_keys levels leases turns first_turn save_levels waiting wake end_leases
  local ready, waiting, delayed = string.match(ARGV[5], '^(%S+) (%S+) (%S+)$')
  local k = {ready = ready, limit = KEYS[4], delayed = delayed, retention = tonumber(ARGV[4])}
  open_levels(k, type_text)
  end_leases(k, list, waiting)
else
  for _, q in ipairs(list) do
    q.leased = q.leased - q.ended
  end
  save_queues(list, tonumber(ARGV[4]))
end
write_marks(ARGV[2], retention, marks)
--@audit
return out
