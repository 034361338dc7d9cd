-- Jobs that are not in the sequence of their queue: those with a priority, or a delay.

-- Such a job leaves a gap in the sequence, or makes the last one longer.
local function leave_out(q, jobs)
  local seq = q.next
  q.next = seq + 1
  if seq == q.head then
    q.head = seq + 1
    return
  end
  if q.tail ~= seq - 1 then
    q.first_of_gap = end_of_gap(q, jobs, seq - 1, q.head, seq - 1)
  end
  local fields, first = q.fields, q.first_of_gap or seq
  fields[#fields + 1], fields[#fields + 2] = string.format(':%d', first), string.format('/%d', seq)
  fields[#fields + 1], fields[#fields + 2] = string.format(':%d', seq), string.format('/%d', first)
  if seq - 1 > first then
    q.removed = q.removed or {}
    q.removed[#q.removed + 1] = string.format(':%d', seq - 1)
  end
  q.apart, q.tail, q.first_of_gap = q.apart + 1, seq, first
end

-- Notes the writes, as `place`. `delay` in ms.
local function place_apart(q, jobs, job_id, record, at, delay)
  q.fields = q.fields or {}
  q.fields[#q.fields + 1], q.fields[#q.fields + 2] = job_id, record
  leave_out(q, jobs)
  q.waiting, q.counted = q.waiting + 1, (q.counted or 0) + 1
  local kind = delay > 0 and 'delayed' or 'returned'
  local set = q[kind] or {}
  q[kind] = set
  if delay > 0 then
    q.late = q.late + 1
    set[#set + 1], set[#set + 2] = now + delay, delayed_member(at, job_id)
  else
    q.back = q.back + 1
    set[#set + 1], set[#set + 2] = at, job_id
  end
end
