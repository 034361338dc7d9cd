-- A member of the set of delayed jobs: `seq/job_id`.
local function delayed_member(seq, job_id)
  return string.format('%d/', seq) .. job_id
end

local function split_delayed(member)
  return string.match(member, '^(%d+)/(.+)$')
end
