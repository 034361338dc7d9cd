-- Puts up to a hundred jobs of one type, in order, each as `enqueue` would.
-- KEYS: void ready waiting
-- ARGV: queues actives delayed counters {queue_id job_id payload interval requeue_limit max_length}
-- Returns: {status, length before it}
--@include status clock record queue schedule bucket count put waiting wake
local queues, actives, delayed = ARGV[1], ARGV[2], ARGV[3]
local out = {}
local earliest
for i = 5, #ARGV, 6 do
  local queue_id = ARGV[i]
  local keys = {
    ready = KEYS[2], queue = queues .. queue_id, active = actives .. queue_id,
    delayed = delayed .. queue_id, counters = ARGV[4],
  }
  local status, length, at = put(keys, queue_id, ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3]),
    ARGV[i + 4], tonumber(ARGV[i + 5]))
  out[#out + 1] = status
  out[#out + 1] = length
  earliest = at and math.min(at, earliest or at) or earliest
end
wake(KEYS[3], earliest)
return out
