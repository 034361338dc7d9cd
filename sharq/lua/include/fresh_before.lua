-- Positions are exact up to this one. Delayed jobs that are due, but not moved yet, and jobs between
-- gaps are counted one by one.
local EXACT_TO, AT_ONCE = 1000, 100

-- How many never delivered jobs are before the place `seq`, and whether that is an estimate.
local function fresh_before(q, jobs, seq)
  if q.apart == 0 then
    return seq - q.head, false
  end
  local at, count = q.head, 0
  while at < seq and count < EXACT_TO do
    local first, last = at, math.min(at + AT_ONCE, seq) - 1
    local found = read_places(jobs, first, last)
    while at <= last do
      local field = found[at - first + 1]
      local gap = field and string.match(field, '^/(%d+)$')
      count = gap and count or count + 1
      at = math.max(gap or at, at) + 1
    end
  end
  if at < seq then
    return math.max(count, seq - q.head - q.apart), true
  end
  return count, false
end
