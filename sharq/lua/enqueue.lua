-- Puts a job at the tail of its queue.
-- KEYS: void ready held waiting queue jobs
-- ARGV: counters queue_id job_id payload interval requeue_limit max_length
-- Returns: status (queued, duplicate, conflict, full), length before it (`full:MS` where the queue's
--   rate has made room in MS milliseconds)
--@include status clock record bucket count put_plain
local queue_id, job_id, payload, interval, left = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local max_length = tonumber(ARGV[7])
local held = redis.call('HGET', KEYS[3], queue_id .. '/' .. job_id)
local text = redis.call('GET', KEYS[5])
local k = {ready = KEYS[2], queue = KEYS[5], jobs = KEYS[6], counters = ARGV[1]}
local status, length, turn = QUEUED, nil, nil
if not held then
  length, turn = put_plain(k, text, queue_id, job_id, payload, interval, left, max_length)
end
if not length then
  --@include queue rate find schedule count_many put save_put
  k.jobs = string.sub(k.jobs, 1, -#queue_id - 1)
  local q = decode_queue(k.queue, text)
  q.id = queue_id
  status, length = put(k, q, held, job_id, payload, tonumber(interval), left, max_length)
  turn = status == QUEUED and save_put(k, {q}, 1) or nil
end
if turn and redis.call('EXISTS', KEYS[4]) == 1 then
  --@include waiting wake
  wake(KEYS[4], turn)
end
return {status, length}
