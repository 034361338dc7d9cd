-- Takes one job if the queue may give one and it fits into `room` bytes. Returns the room left,
-- less than 0 if it does not fit, nil if there is no job. Without `charge_all` only the interval of the queue
-- is looked at and charged, and a job that needs more makes the queue `limited`. The interval is told with
-- a burst over 1 as `interval*burst`.
-- The bytes of a job in an answer besides its payload and twice its names, at most.
local FRAME = 300

-- A job has gone before its rate allowed it: nothing of this has to happen.
local function note_early(k, queue_id)
  k.early = k.early or {}
  k.early[#k.early + 1] = queue_id
end

local function take_one(k, out, batch, q, room, charge_all)
  local readable, job_id, record = pcall(next_job, k, q)
  q.visited = true
  if not readable and is_damage(job_id) then
    q.damaged = true
    tell_damage(k.queues .. q.id, 'it cannot be read, and leaves the schedule')
    return nil
  elseif not charge_all and q.tat > now then
    return nil
  elseif not record then
    if q.waiting > q.late then
      pass_over(k, q, job_id)
    end
    return nil
  end
  local place, left, attempt, payload, cost, history = unpack_waiting(record)
  if cost ~= '' and not charge_all then
    q.limited, q.visited = true, q.counted ~= nil
    return nil
  end
  local last = #out
  room = room - #record - 2 * (#q.id + #job_id) - FRAME
  if room < 0 and last > 3 then
    return room
  elseif last == 3 and q.since then
    out[3] = math.max(0, math.floor(now - q.since))
  end
  pop_job(q, k.jobs .. q.id, job_id)
  q.counted = (q.counted or 0) + 1
  if charge_all then
    local charged = charge_all(k, q, tonumber(cost) or 1)
    record = place .. ':' .. left .. ':' .. attempt .. charged .. history .. ' ' .. payload
  else
    if q.tat > now then
      note_early(k, q.id)
    end
    q.tat, q.leased = math.max(now, q.tat) + q.interval, q.leased + 1
  end
  out[last + 1], out[last + 2], out[last + 3], out[last + 4] = q.id, job_id, false, left
  out[last + 5], out[last + 6], out[last + 7] = attempt + 1, q.waiting, payload
  local whole = q.interval % 1 == 0
  if q.burst then
    out[last + 8] = string.format(whole and '%d*%d' or '%.3f*%d', q.interval, q.burst)
  else
    out[last + 8] = whole and q.interval or string.format('%.3f', q.interval)
  end
  local at = #batch.members + 1
  batch.members[at], batch.records[at] = q.id .. '/' .. job_id, record
  return room
end
