-- Puts a job from another store into a queue, whatever bounds its length, or leases it. It notes writes for
-- `save_put_limited`, and for `lease_arrived`: member, record and ms of each lease.
-- k: jobs leases held serial counters arrived, and what `open_levels` adds

-- The place of a job that was delivered before: ahead of all that were not.
local function place_before(q)
  if q.head == q.next then
    q.head, q.next = q.next + 1, q.next + 1
    return q.next - 1
  end
  return math.max(q.head - 1, q.cleared)
end

-- The queue's last dispatch was elsewhere: there the next one would be in `wait` ms.
local function go_on_in(q, wait, interval)
  local at = now + wait - interval + q.interval
  if wait > 0 and at > q.tat then
    q.tat, q.last = at, nil
  end
end

local function note_arrival(k, q, job_id, record, at, where)
  if where ~= 'head' then
    local last = #k.arrived
    k.arrived[last + 1] = {q.id .. '/' .. job_id, record, tonumber(where)}
    q.took = (q.took or 0) + 1
    count_leases(k, q, 1)
    return
  end
  q.fields, q.returned = q.fields or {}, q.returned or {}
  q.fields[#q.fields + 1], q.fields[#q.fields + 2] = job_id, record
  q.returned[#q.returned + 1], q.returned[#q.returned + 2] = at, job_id
  q.waiting, q.back = q.waiting + 1, q.back + 1
end

-- Returns its status, and its record if it is new.
local function arrive(k, q, known, job_id, payload, interval, left, wait, where)
  local status, record, _
  if where == 'tail' then
    status, _, record = put_limited(k, q, known, job_id, payload, interval, left, '')
  else
    known = known or find_waiting(q, k.jobs .. q.id, job_id)
    if known then
      return payload_of(known) == payload and DUPLICATE or CONFLICT
    elseif q.waiting + q.leased == 0 then
      begin_anew(q)
    end
    if not q.api then
      change_rate(q, interval)
    end
    local at = place_before(q)
    status, record = QUEUED, pack_waiting(at, left, 0, payload)
    q.counted = (q.counted or 0) + 1
    note_arrival(k, q, job_id, record, at, where)
  end
  if record then
    go_on_in(q, wait, interval)
  end
  return status, record
end
