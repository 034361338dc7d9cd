-- Removes a waiting job from its queue, and the queue from the schedule if no other waits. The first
-- write is a removal, so that it works in a full store.
-- k: jobs returned delayed counters, and what `open_levels` adds

-- A job that was never delivered leaves a gap, or makes one longer, unless it is the next job.
local function remove_fresh(q, jobs, job_id, seq)
  local first = seq > q.head and end_of_gap(q, jobs, seq - 1, q.head, seq - 1)
  local last = seq + 1 < q.next and end_of_gap(q, jobs, seq + 1, seq + 1, q.next - 1)
  local fields = {job_id, string.format(':%d', seq)}
  if first then
    fields[#fields + 1] = string.format(':%d', seq - 1)
  end
  if last then
    fields[#fields + 1] = string.format(':%d', seq + 1)
    fields[#fields + 1] = string.format(':%d', last)
  end
  redis.call('HDEL', jobs, unpack(fields))
  last = last or seq
  if seq == q.head then
    q.apart, q.head, q.first = math.max(0, q.apart - (last - seq)), last + 1, ''
    return
  end
  first = first or seq
  q.apart = q.apart + 1
  redis.call('HSET', jobs, string.format(':%d', first), string.format('/%d', last),
    string.format(':%d', last), string.format('/%d', first))
end

local function remove_waiting(k, q, job_id, record)
  local place, jobs, delayed = tonumber((unpack_waiting(record))), k.jobs .. q.id, k.delayed .. q.id
  if q.late > 0 and redis.call('ZREM', delayed, delayed_member(place, job_id)) == 1 then
    redis.call('HDEL', jobs, job_id)
    q.late = q.late - 1
    add_delayed(k, -1)
  elseif q.back > 0 and redis.call('ZREM', k.returned .. q.id, job_id) == 1 then
    redis.call('HDEL', jobs, job_id)
    q.back = q.back - 1
  else
    remove_fresh(q, jobs, job_id, place)
  end
  local before = q.waiting
  count_waiting(q)
  add_waiting(k, q.waiting - before)
  if q.waiting == 0 then
    leave(k, q)
  elseif q.waiting == q.late then
    take_turn(k, q)
  end
end
