-- Puts a job at the tail of a queue, whose state it changes: status, the length before it.
-- A job that is no larger than this, and the only one that waits, is kept in the state.
local SMALL = 200

-- Of what is written later: `turn`, where it is news, `added` jobs, and `fields` for the others in
-- the hash, which are in `fresh` by their job_id.
local function place(q, job_id, record)
  q.next, q.waiting, q.added = q.next + 1, q.waiting + 1, (q.added or 0) + 1
  if q.waiting == 1 and #record <= SMALL then
    q.first = job_id .. ' ' .. record
    return
  end
  if not q.fields then
    q.fields, q.fresh = {}, {}
  end
  local at = #q.fields
  q.fields[at + 1], q.fields[at + 2] = string.format(':%d', q.next - 1), job_id
  q.fields[at + 3], q.fields[at + 4] = job_id, record
  q.fresh[job_id] = record
end

-- k: ready jobs
local function put(k, q, leased, job_id, payload, interval, requeue_limit, max_length)
  local known = leased or q.fresh and q.fresh[job_id]
    or find_waiting(q, k.jobs .. q.id, job_id)
  local length = q.waiting
  if known then
    return payload_of(known) == payload and DUPLICATE or CONFLICT, length
  elseif max_length and length >= max_length then
    return FULL, length
  end
  if length + q.leased == 0 then
    begin_anew(q)
  end
  local changed = not q.api and q.interval ~= interval
  if changed then
    change_interval(q, interval)
  end
  place(q, job_id, pack_waiting(q.next, requeue_limit, 0, payload))
  if length == 0 then
    q.turn = math.max(q.tat, now)
  elseif changed or length == q.late then
    q.turn = math.max(q.tat, ready_since(k.ready, q))
  end
  return QUEUED, length
end
