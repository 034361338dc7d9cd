-- The keys below that of the type's limits, `limit`: as a bucket's shards, they are made here only.

-- The schedule of a type that has limits.
local function line_key(limit)
  return limit .. ':line'
end

-- The state of a group, its schedule, and the groups that have one.
local function group_key(limit, group)
  return limit .. ':g:' .. group
end

local function schedule_key(limit, group)
  return limit .. ':s:' .. group
end

local function groups_key(limit)
  return limit .. ':groups'
end

-- What is set without jobs, by the time until which it is.
local function kept_key(limit)
  return limit .. ':kept'
end
