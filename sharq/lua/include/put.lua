-- Puts a job at the tail of a queue without other limits than its interval, in a type without limits;
-- changes the queue's state. Returns status, the length before it, record.

-- The status of a queue with `over` jobs too many, whose next one may go `at` a time: with the time (ms) until
-- its rate has made room, if it has one. `ahead`: the time (ms) for which the rate can be ahead.
local function full(q, at, over, ahead)
  if at == math.huge or q.interval == 0 then
    return FULL
  end
  local start = math.max(at, now)
  local room = math.max(start, math.max(start, q.tat) + over * q.interval - ahead)
  return string.format('%s:%.0f', FULL, math.ceil(room - now))
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

-- `known`: the record of the same job, if it is leased or waits.
-- k: ready jobs
local function put(k, q, known, job_id, payload, interval, requeue_limit, options)
  local length, most = q.waiting, tonumber(options)
  known = known or find_waiting(q, k.jobs .. q.id, job_id)
  if known then
    return payload_of(known) == payload and DUPLICATE or CONFLICT, length
  elseif most and length >= most then
    local at = q.turn or tonumber(redis.call('ZSCORE', k.ready, q.id) or 'inf')
    return full(q, at, length - most, 0), length
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
    q.stood = q.stood or (q.turn and now) or tonumber(redis.call('ZSCORE', k.ready, q.id) or now)
    q.turn = math.max(q.tat, math.min(q.stood, now))
  end
  return QUEUED, length, record
end
