-- Lets a lease end at the later of its end and `by` ms from now.
-- KEYS: void leases held
-- ARGV: marks retention requests queue_id job_id n by
-- Returns: status (success, not_active, stale_lease, already_finished), ms that are left
--@include status clock leased_record bucket mark read_mark refusal lease extend_lease
local k = {
  leases = KEYS[2], held = KEYS[3], marks = ARGV[1], retention = tonumber(ARGV[2]),
  requests = ARGV[3],
}
local status, left = extend_lease(k, ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7]))
return {status, left}
