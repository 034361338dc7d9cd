-- The lease number in a leased job's record.
local function number_of(record)
  return string.sub(record, 1, string.find(record, ':', 1, true) - 1)
end

-- Why the lease `n` (empty: any lease) is not valid for a job that is not leased.
local function refusal_of(marks, retention, member, n)
  local mark_n, state = read_mark(marks, retention, member)
  if state == FINISHED and (n == '' or n == mark_n) then
    return ALREADY_FINISHED
  end
  return NOT_ACTIVE
end
