-- Ends a leased job for good.
-- KEYS: void leases held queue
-- ARGV: marks retention interval_retention queue_id job_id n
-- Returns: status (success, not_active, stale_lease, already_finished)
--@include status clock queue queues save bucket mark read_mark finish_jobs
return finish_jobs({
  leases = KEYS[2], held = KEYS[3], queues = string.sub(KEYS[4], 1, -#ARGV[4] - 1),
  marks = ARGV[1], retention = tonumber(ARGV[2]), interval_retention = tonumber(ARGV[3]),
}, {ARGV[4], ARGV[5], ARGV[6]}, 1)[1]
