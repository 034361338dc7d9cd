-- Leases up to `count` jobs, each from the queue that has been ready longest.
-- KEYS: void ready leases serial request?
-- ARGV: queues actives returned delayed counters count lease_ms max_bytes request_id
-- Returns: wait (µs until the next queue is ready; 0: now, -1: none is scheduled),
--   {queue_id, job_id, n, requeues_remaining, attempt, length after it, payload}
--@include clock record queue schedule bucket count serial next_job lease_job answer_job request
local ready, request = KEYS[2], KEYS[5]
local wanted, lease_ms, room = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local out = {0}
local answer = request and redis.call('GET', request)
if answer then
  return replay(out, answer, ARGV[2])
end

-- A round gives a job at least, or removes queues that have nothing to give: so often, at most.
local SPARE_ROUNDS = 10
-- What a job adds to an answer beside its payload and twice its names, at most.
local FRAME = 300

local taken = {}
for _ = 1, wanted + SPARE_ROUNDS do
  local first = redis.call('ZRANGE', ready, 0, wanted - #taken - 1, 'WITHSCORES')
  if not first[1] then
    out[1] = -1
    break
  end
  out[1] = math.max(0, first[2] * 1000 - now_us)
  if out[1] > 0 then
    break
  end
  for i = 1, #first, 2 do
    local queue_id = first[i]
    if tonumber(first[i + 1]) > now then
      break
    end
    local k = {
      ready = ready, leases = KEYS[3], serial = KEYS[4], active = ARGV[2] .. queue_id,
      returned = ARGV[3] .. queue_id, delayed = ARGV[4] .. queue_id, counters = ARGV[5],
    }
    local q = load_queue(ARGV[1] .. queue_id)
    local job_id, record = next_job(q, k.returned, k.delayed)
    if not record then
      redis.call('ZREM', ready, queue_id)
    elseif q.tat > now then
      schedule(ready, queue_id, q, k.delayed)
    else
      room = room - #record - 2 * (#queue_id + #job_id) - FRAME
      if room < 0 and #taken > 0 then
        wanted = #taken
        break
      end
      local job = lease_job(k, q, queue_id, job_id, record, lease_ms, ARGV[9])
      answer_job(out, queue_id, job_id, job, q.waiting)
      taken[#taken + 1] = queue_id .. '/' .. job_id .. '/' .. job.n .. '/' .. q.waiting
    end
  end
  if #taken == wanted then
    out[1] = 0
    break
  end
end
if request and #taken > 0 then
  remember(request, taken, lease_ms)
end
return out
