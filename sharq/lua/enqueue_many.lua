-- Puts up to a hundred jobs of one type, in order, each as `enqueue` would.
-- KEYS: void ready held waiting
-- ARGV: queues jobs counters {queue_id job_id payload interval requeue_limit max_length}
-- Returns: {status, length before it}
--@include status clock record queue queues save find schedule bucket count put put_jobs waiting wake
local out, earliest = put_jobs({
  ready = KEYS[2], held = KEYS[3], queues = ARGV[1], jobs = ARGV[2], counters = ARGV[3],
}, ARGV, 4)
wake(KEYS[4], earliest)
return out
