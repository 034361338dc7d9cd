-- Leases up to `count` jobs, each from the queue that has been ready longest. A server that has a
-- `channel` waits from now on for what it did not get; `seq` is the number of its call.
-- KEYS: void ready leases held serial waiting request?
-- ARGV: queues jobs returned delayed counters count lease_ms max_bytes request_id channel seq
-- Returns: wait (µs until the next queue is ready; 0: now, -1: none is scheduled), rank among the
--   servers that wait for it, {queue_id, job_id, n, requeues_remaining, attempt, length after it,
--   payload}
--@include clock record queue queues schedule bucket count serial next_job pop_job take_one save_taken number_taken take_jobs request waiting line_up wake
local ready, waiting, request = KEYS[2], KEYS[6], KEYS[7]
local lease_ms, channel, seq = tonumber(ARGV[7]), ARGV[10], ARGV[11]
local out = {0, 0}
local answer = request and remembered(request, seq)
if answer then
  return replay(out, answer, KEYS[4])
end
local k = {
  ready = ready, leases = KEYS[3], held = KEYS[4], serial = KEYS[5], queues = ARGV[1],
  jobs = ARGV[2], returned = ARGV[3], delayed = ARGV[4], counters = ARGV[5],
}
local taken, next_at = take_jobs(k, out, tonumber(ARGV[6]), lease_ms, tonumber(ARGV[8]), ARGV[9])
if request and taken > 0 then
  remember(request, seq, out, lease_ms)
end
if next_at then
  out[1] = next_at == math.huge and -1 or next_at * 1000 - now_us
end
if channel == '' then
  return out
end

local line = line_of(waiting)
local server = find_server(line, channel)
if next_at then
  out[2] = line_up(waiting, line, server, next_at, taken > 0)
  -- Whose turn is next has to know of it.
  if taken > 0 and next_at < math.huge and out[2] == 0 then
    tell_first(waiting, others_of(line, channel))
  end
else
  if server.waits then
    server.waits = false
    write_server(waiting, server)
  end
  if #line > 0 then
    wake(waiting, tonumber(redis.call('ZRANGE', ready, 0, 0, 'WITHSCORES')[2]), line)
  end
end
return out
