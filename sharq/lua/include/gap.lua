-- The places of cancelled jobs that were never delivered are gaps in the sequence. Each gap has its two
-- ends in the hash of jobs, `:first` -> `/last` and `:last` -> `/first`, so it is skipped in one step.
-- No gap begins at the head, and no two touch.

-- The other end of the gap that begins or ends at `seq`, or nil. It is between `low` and `high`: in a
-- damaged queue there may be an end without the other.
local function end_of_gap(q, jobs, seq, low, high)
  local field = q.apart > 0 and redis.call('HGET', jobs, string.format(':%d', seq))
  local other = field and tonumber(string.match(field, '^/(%d+)$'))
  return other and other >= low and other <= high and other or nil
end

local function count_waiting(q)
  q.waiting = q.next - q.head - q.apart + q.back + q.late
end

-- Moves the head behind a gap that begins there; `popped` are fields of the hash to be removed.
local function skip_gap(q, jobs)
  local last = end_of_gap(q, jobs, q.head, q.head, q.next - 1)
  if last then
    local popped = q.popped or {}
    popped[#popped + 1] = string.format(':%d', q.head)
    popped[#popped + 1] = string.format(':%d', last)
    q.apart = math.max(0, q.apart - (last - q.head + 1))
    q.head, q.popped = last + 1, popped
    count_waiting(q)
  end
end
