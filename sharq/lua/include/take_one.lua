-- Skips jobs that are gone: they were removed from outside.
local PASSED_AT_ONCE = 1000

local function pass_over(k, q, job_id)
  local last = math.min(q.head + PASSED_AT_ONCE, q.next)
  if job_id then
    pop_job(q, k.jobs .. q.id, job_id)
  else
    repeat
      q.head = q.head + 1
    until q.head == last
      or redis.call('HEXISTS', k.jobs .. q.id, string.format(':%d', q.head)) == 1
  end
  -- Of gaps, too, the ends may be gone: what is left of them counts as such jobs.
  q.cancelled = 0
  count_waiting(q)
  q.ahead, q.collected = nil, true
  tell_damage(k.queues .. q.id, 'jobs are gone')
end

-- Takes one job if the queue may give one and it fits into `room` bytes. Returns the room left,
-- less than 0 if it does not fit, nil if there is no job.
-- The bytes of a job in an answer besides its payload and twice its names, at most.
local FRAME = 300

local function take_one(k, out, batch, q, room)
  q.visited = true
  local readable, job_id, record = pcall(next_job, k, q)
  if not readable and is_damage(job_id) then
    q.damaged = true
    tell_damage(k.queues .. q.id, 'it cannot be read, and leaves the schedule')
    return nil
  elseif q.tat > now then
    return nil
  elseif not record then
    if q.waiting > q.late then
      pass_over(k, q, job_id)
    end
    return nil
  end
  local last = #out
  room = room - #record - 2 * (#q.id + #job_id) - FRAME
  if room < 0 and last > 2 then
    return room
  end
  pop_job(q, k.jobs .. q.id, job_id)
  q.tat, q.leased, q.counted = math.max(now, q.tat) + q.interval, q.leased + 1, (q.counted or 0) + 1
  local _, left, attempt, payload = unpack_waiting(record)
  out[last + 1], out[last + 2], out[last + 3], out[last + 4] = q.id, job_id, false, left
  out[last + 5], out[last + 6], out[last + 7] = attempt + 1, q.waiting, payload
  out[last + 8] = q.interval
  local at = #batch.members + 1
  batch.members[at], batch.records[at] = q.id .. '/' .. job_id, record
  return room
end
