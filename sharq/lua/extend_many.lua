-- Extends up to a hundred leases of one type, in order, each as `extend` would. With `by` 0 they end
-- when they did, and one that has run out, now.
-- KEYS: void leases held
-- ARGV: marks retention requests by {queue_id job_id n}
-- Returns: {status, ms that are left}
--@include status clock leased_record bucket mark read_mark refusal lease extend_lease
local k = {
  leases = KEYS[2], held = KEYS[3], marks = ARGV[1], retention = tonumber(ARGV[2]),
  requests = ARGV[3],
}
local by = tonumber(ARGV[4])
local out = {}
for i = 5, #ARGV, 3 do
  local status, left = extend_lease(k, ARGV[i], ARGV[i + 1], ARGV[i + 2], by)
  out[#out + 1] = status
  out[#out + 1] = left
end
return out
