-- A member of the set of delayed jobs: `place/job_id`.
local function delayed_member(place, job_id)
  return string.format('%d/', place) .. job_id
end

local function split_delayed(member)
  return string.match(member, '^(-?%d+)/(.+)$')
end
