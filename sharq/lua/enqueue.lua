-- Puts a job at the tail of its queue.
-- KEYS: void ready held waiting queue jobs
-- ARGV: counters queue_id job_id payload interval requeue_limit max_length
-- Returns: status (queued, duplicate, conflict, full), length before it
--@include status clock record queue queues save find schedule bucket count put put_jobs waiting wake
local name = #ARGV[2] + 1
local out, earliest = put_jobs({
  ready = KEYS[2], held = KEYS[3], queues = string.sub(KEYS[5], 1, -name),
  jobs = string.sub(KEYS[6], 1, -name), counters = ARGV[1],
}, {ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]}, 1)
wake(KEYS[4], earliest)
return out
