-- One page of the queues that have jobs, see `page_of_queues`. A queue may be listed more than once.
-- KEYS: void ready leases limit
-- ARGV: part group cursor count prefix
-- Returns: part, group, cursor (of the next page; an empty part after the last one), {queue_id}
--@include level_keys queue_pages
local k = {ready = KEYS[2], leases = KEYS[3], limit = KEYS[4]}
local members, part, group, cursor = page_of_queues(k, ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5])
local out, seen = {part, group, cursor}, {}
for i = 1, #members, 2 do
  local queue_id = string.match(members[i], '^[^/]+')
  if not seen[queue_id] and string.byte(queue_id) ~= 61 then
    seen[queue_id] = true
    out[#out + 1] = queue_id
  end
end
return out
