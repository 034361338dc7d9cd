-- Puts a job at the tail of its queue.
-- KEYS: void ready queue active delayed
-- ARGV: counters queue_id job_id payload interval requeue_limit max_length
-- Returns: status (queued, duplicate, conflict, full), length before it
--@include status clock record queue schedule bucket count put
local keys = {
  ready = KEYS[2], queue = KEYS[3], active = KEYS[4], delayed = KEYS[5], counters = ARGV[1],
}
local status, length =
  put(keys, ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7]))
return {status, length}
