-- Ends up to a hundred leased jobs of one type, in order, each as `finish` would.
-- KEYS: void leases held
-- ARGV: queues marks retention interval_retention {queue_id job_id n}
-- Returns: {status}
--@include status clock queue queues save bucket mark read_mark finish_jobs
return finish_jobs({
  leases = KEYS[2], held = KEYS[3], queues = ARGV[1], marks = ARGV[2],
  retention = tonumber(ARGV[3]), interval_retention = tonumber(ARGV[4]),
}, ARGV, 5)
