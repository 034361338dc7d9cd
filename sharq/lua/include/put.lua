-- Puts a job at the tail of a queue, whose state it changes: status, the length before it, record.

-- The status of a queue with `over` jobs too many: with the time (ms) until its rate has made room,
-- if it has one.
local function full(ready, q, over)
  local at = q.turn or tonumber(redis.call('ZSCORE', ready, q.id))
  if not at or q.interval == 0 then
    return FULL
  end
  return string.format('%s:%.0f', FULL, math.max(at - now, 0) + over * q.interval)
end

-- Notes the writes: how many are `counted`, and the `fields` for the hash.
local function place(q, job_id, record)
  q.next, q.waiting, q.counted = q.next + 1, q.waiting + 1, (q.counted or 0) + 1
  if q.waiting == 1 and #record <= SMALL then
    q.first = job_id .. ' ' .. record
  elseif not q.fields then
    q.fields = {string.format(':%d', q.next - 1), job_id, job_id, record}
  else
    local last = #q.fields
    q.fields[last + 1], q.fields[last + 2] = string.format(':%d', q.next - 1), job_id
    q.fields[last + 3], q.fields[last + 4] = job_id, record
  end
end

-- `ready`, `jobs`: the schedule, and the queue's hash. `known`: the record of the same job, if it
-- is leased or waits.
local function put(
  ready, jobs, q, known, job_id, payload, interval, requeue_limit, max_length)
  local length = q.waiting
  known = known or find_waiting(q, jobs, job_id)
  if known then
    return payload_of(known) == payload and DUPLICATE or CONFLICT, length
  elseif max_length and length >= max_length then
    return full(ready, q, length - max_length), length
  end
  if length + q.leased == 0 then
    begin_anew(q)
  end
  local changed = not q.api and q.interval ~= interval
  if changed then
    change_interval(q, interval)
  end
  local record = pack_waiting(q.next, requeue_limit, 0, payload)
  place(q, job_id, record)
  --@note 'enqueue', q.id .. '/' .. job_id, 'place', q.next - 1, 'left', requeue_limit,
  --@ 'asked', interval, 'interval', q.interval, 'sha', redis.sha1hex(payload)
  if length == 0 then
    q.turn = math.max(q.tat, now)
  elseif changed or length == q.late then
    q.turn = math.max(q.tat, ready_since(ready, q))
  end
  return QUEUED, length, record
end
