-- One page of the queues that have jobs: those in the schedule of the type, those of each group in turn, then
-- those with leases. A queue may be listed more than once.
-- KEYS: void ready leases limit
-- ARGV: part group cursor count
-- Returns: part, group, cursor (of the next page; an empty part after the last one), {queue_id}
--@include level_keys
local part, group, limit = ARGV[1], ARGV[2], KEYS[4]
local key = KEYS[3]
if part == 'type' then
  key = redis.call('EXISTS', limit) == 1 and line_key(limit) or KEYS[2]
elseif part == 'group' then
  key = schedule_key(limit, group)
end
local page = redis.call('ZSCAN', key, ARGV[3], 'COUNT', ARGV[4])
local cursor = page[1]
if cursor == '0' and part == 'leased' then
  part = ''
elseif cursor == '0' then
  local after, groups = part == 'type' and '-' or '(' .. group, groups_key(limit)
  group = redis.call('EXISTS', groups) == 1
    and redis.call('ZRANGEBYLEX', groups, after, '+', 'LIMIT', 0, 1)[1]
  part, group = group and 'group' or 'leased', group or ''
end
local out, seen = {part, group, cursor}, {}
for i = 1, #page[2], 2 do
  local queue_id = string.match(page[2][i], '^[^/]+')
  if not seen[queue_id] and string.byte(queue_id) ~= 61 then
    seen[queue_id] = true
    out[#out + 1] = queue_id
  end
end
return out
