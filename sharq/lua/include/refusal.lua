-- The number of the lease that a leased job's record is of.
local function number_of(record)
  return string.sub(record, 1, string.find(record, ':', 1, true) - 1)
end

-- Why `n` (empty: whoever holds the lease) does not entitle to a job that is not leased.
local function refusal_of(marks, retention, member, n)
  local mark_n, state = read_mark(marks, retention, member)
  if state == FINISHED and (n == '' or n == mark_n) then
    return ALREADY_FINISHED
  end
  return NOT_ACTIVE
end
