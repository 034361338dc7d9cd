-- One page of the queues that have jobs: of the schedule (`waiting`) or of the leases.
-- KEYS: void ready leases
-- ARGV: waiting cursor count
-- Returns: next cursor ("0": the last page), {queue_id}
local waiting = ARGV[1] == '1'
local page = redis.call('ZSCAN', waiting and KEYS[2] or KEYS[3], ARGV[2], 'COUNT', ARGV[3])
local out, seen = {page[1]}, {}
for i = 1, #page[2], 2 do
  local queue_id = waiting and page[2][i] or string.match(page[2][i], '^([^/]+)')
  if not seen[queue_id] then
    seen[queue_id] = true
    out[#out + 1] = queue_id
  end
end
return out
