-- Leases up to `wanted` jobs, each from the queue that has been ready longest, while they fit into
-- `room` bytes, and appends them to `out`. Returns what was taken, as the words of `request`, and
-- the time (ms) of the schedule's next job: nil where one may be ready now, `inf` where none is.
-- k: ready leases serial queues actives returned delayed counters
-- A round gives a job at least, or removes queues that have nothing to give: so often, at most.
local SPARE_ROUNDS = 10
-- What a job adds to an answer beside its payload and twice its names, at most.
local FRAME = 300

local function take_jobs(k, out, wanted, lease_ms, room, request_id)
  local taken = {}
  for _ = 1, wanted + SPARE_ROUNDS do
    local first = redis.call('ZRANGE', k.ready, 0, wanted - #taken - 1, 'WITHSCORES')
    if not first[1] then
      return taken, math.huge
    elseif tonumber(first[2]) > now then
      return taken, tonumber(first[2])
    end
    for i = 1, #first, 2 do
      local queue_id = first[i]
      if tonumber(first[i + 1]) > now then
        break
      end
      local own = {
        ready = k.ready, leases = k.leases, serial = k.serial, active = k.actives .. queue_id,
        returned = k.returned .. queue_id, delayed = k.delayed .. queue_id,
        counters = k.counters,
      }
      local q = load_queue(k.queues .. queue_id)
      local job_id, record = next_job(q, own.returned, own.delayed)
      if not record then
        redis.call('ZREM', k.ready, queue_id)
      elseif q.tat > now then
        schedule(k.ready, queue_id, q, own.delayed)
      else
        room = room - #record - 2 * (#queue_id + #job_id) - FRAME
        if room < 0 and #taken > 0 then
          return taken
        end
        local job = lease_job(own, q, queue_id, job_id, record, lease_ms, request_id)
        answer_job(out, queue_id, job_id, job, q.waiting)
        taken[#taken + 1] = queue_id .. '/' .. job_id .. '/' .. job.n .. '/' .. q.waiting
      end
    end
    if #taken == wanted then
      return taken
    end
  end
  return taken
end
