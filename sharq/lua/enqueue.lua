-- Puts a job at the tail of its queue.
-- KEYS: void ready held waiting queue jobs
-- ARGV: counters queue_id job_id payload interval requeue_limit max_length
-- Returns: status (queued, duplicate, conflict, full), length before it (`full:MS` where the queue's
--   rate has made room in MS milliseconds)
--@include status clock record bucket count queue rate find schedule put
local ready, jobs, queue_id, job_id = KEYS[2], KEYS[6], ARGV[2], ARGV[3]
local held = redis.call('HGET', KEYS[3], queue_id .. '/' .. job_id)
local q = load_queue(KEYS[5])
q.id = queue_id
local status, length = put(ready, jobs, q, held, job_id, ARGV[4], tonumber(ARGV[5]), ARGV[6],
  tonumber(ARGV[7]))
if status ~= QUEUED then
  return {status, length}
end
if q.fields then
  redis.call('HSET', jobs, unpack(q.fields))
end
redis.call('SET', q.key, encode_queue(q))
if q.turn then
  redis.call('ZADD', ready, q.turn, queue_id)
end
local bucket, spread = count_type(ARGV[1], 'e', 1)
count_queue(bucket, spread, queue_id, 1)
--@audit
if q.turn and redis.call('EXISTS', KEYS[4]) == 1 then
  --@include waiting wake
  wake(KEYS[4], q.turn)
end
return {status, length}
