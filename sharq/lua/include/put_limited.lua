-- Puts a job into a queue as `put` does, for jobs, queues and types with any limits. It notes writes for
-- `save_put_limited`.
-- k: jobs, and what `open_levels` adds
local OPTIONS = '^(%d*):([%d-]*):([%d-]*):([^:]*):(%d+):(%d+):(%d+)$'

-- What an enqueue sets: '' leaves it, '-' removes it.
local function set_by_enqueue(q, burst, slots, group)
  local m = with_more(q)
  m.burst = burst == '' and m.burst or tonumber(burst) or 0
  m.slots = slots == '' and m.slots or tonumber(slots) or 0
  m.group = group == '' and m.group or group == '-' and '' or group
  take_effect(q)
end

-- When the queue's next job may go (ms), with what this call has put there.
local function turn_so_far(k, q)
  local stood, due = tonumber(redis.call('ZSCORE', schedule_of(k, q.home), q.id) or 'inf'), 0
  if not q.counted then
    return stood
  elseif q.waiting == q.late then
    due = tonumber(redis.call('ZRANGE', k.delayed .. q.id, 0, 0, 'WITHSCORES')[2] or 'inf')
    for i = 1, #q.delayed, 2 do
      due = math.min(due, q.delayed[i])
    end
  end
  return math.max(allowed_at(q), due, math.min(stood, now))
end

local function put_limited(k, q, known, job_id, payload, interval, requeue_limit, options)
  local bound, burst, slots, group, cost, priority, delay = string.match(options, OPTIONS)
  local length, most = q.waiting, tonumber(bound or options)
  known = known or find_waiting(q, k.jobs .. q.id, job_id)
  if known then
    return payload_of(known) == payload and DUPLICATE or CONFLICT, length
  elseif most and length >= most then
    return full(q, turn_so_far(k, q), length - most, ahead_of(q)), length
  elseif length + q.leased == 0 then
    begin_anew(q)
  end
  set_by_enqueue(q, burst or '', slots or '', group or '')
  if not q.api then
    change_rate(q, interval)
  end
  local at = q.next - tonumber(priority or 0) * PRIORITY
  local record = pack_waiting(at, requeue_limit, 0, payload, tonumber(cost))
  delay = tonumber(delay or 0)
  if at < 0 or delay > 0 then
    place_apart(q, k.jobs .. q.id, job_id, record, at, delay)
  else
    place(q, job_id, record)
  end
  --@note 'enqueue', q.id .. '/' .. job_id, 'place', string.format('%d', at), 'left', requeue_limit,
  --@ 'asked', interval, 'interval', q.interval, 'sha', redis.sha1hex(payload), 'due', now + delay,
  --@ 'priority', tonumber(priority or 0), 'cost', tonumber(cost or 1), 'burst', q.burst or 1,
  --@ 'concurrency', q.concurrency or 0, 'group', q.group or ''
  return QUEUED, length, record
end
