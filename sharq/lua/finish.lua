-- Ends a leased job for good.
-- KEYS: void leases queue active
-- ARGV: marks retention interval_retention queue_id job_id n
-- Returns: status (success, not_active, stale_lease, already_finished)
--@include status clock record queue bucket mark lease finish_job
local k = {
  leases = KEYS[2], queue = KEYS[3], active = KEYS[4], marks = ARGV[1],
  retention = tonumber(ARGV[2]), interval_retention = tonumber(ARGV[3]),
}
return finish_job(k, ARGV[4], ARGV[5], ARGV[6])
