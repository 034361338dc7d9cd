-- Puts a job at the tail of its queue.
-- KEYS: void ready held waiting queue jobs
-- ARGV: counters queue_id job_id payload interval requeue_limit max_length
-- Returns: status (queued, duplicate, conflict, full), length before it
--@include status clock record queue rate find schedule bucket count put save_put waiting wake
local queue_id, job_id = ARGV[2], ARGV[3]
local k = {
  ready = KEYS[2], jobs = string.sub(KEYS[6], 1, -#queue_id - 1), counters = ARGV[1],
}
local held = redis.call('HGET', KEYS[3], queue_id .. '/' .. job_id)
local q = load_queue(KEYS[5])
q.id = queue_id
local status, length = put(k, q, held, job_id, ARGV[4], tonumber(ARGV[5]), ARGV[6],
  tonumber(ARGV[7]))
if status == QUEUED then
  wake(KEYS[4], save_put(k, {q}, 1))
end
return {status, length}
