-- Takes one job where the queue may give one and it fits into `room` bytes: the room that is left,
-- less than 0 where it does not fit, nil where there is no job.
-- What a job adds to an answer beside its payload and twice its names, at most.
local FRAME = 300

local function take_one(k, out, batch, q, room)
  q.visited = true
  local job_id, record = next_job(k, q)
  if not record or q.tat > now then
    return nil
  end
  local last = #out
  room = room - #record - 2 * (#q.id + #job_id) - FRAME
  if room < 0 and last > 2 then
    return room
  end
  pop_job(q, job_id)
  q.tat, q.leased, q.counted = math.max(now, q.tat) + q.interval, q.leased + 1, (q.counted or 0) + 1
  local _, left, attempt, payload = unpack_waiting(record)
  out[last + 1], out[last + 2], out[last + 3], out[last + 4] = q.id, job_id, false, left
  out[last + 5], out[last + 6], out[last + 7] = attempt + 1, q.waiting, payload
  local at = #batch.members + 1
  batch.members[at], batch.records[at] = q.id .. '/' .. job_id, record
  return room
end
