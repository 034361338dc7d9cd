-- Puts a job at the tail of its queue.
-- KEYS: void ready waiting queue active delayed
-- ARGV: counters queue_id job_id payload interval requeue_limit max_length
-- Returns: status (queued, duplicate, conflict, full), length before it
--@include status clock record queue schedule bucket count put waiting wake
local keys = {
  ready = KEYS[2], queue = KEYS[4], active = KEYS[5], delayed = KEYS[6], counters = ARGV[1],
}
local status, length, at =
  put(keys, ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7]))
wake(KEYS[3], at)
return {status, length}
