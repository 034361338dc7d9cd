-- How many dispatches of cost 1 a level allows now.
local function permitted(level)
  if allowed_at(level) > EXACT then
    return 0
  end
  local count = level.concurrency and level.concurrency - level.leased or math.huge
  if level.interval > 0 then
    local at = time_for(level.interval)
    local credit = at - math.max(level.tat, at) + ahead_of(level)
    count = math.min(count, math.floor(credit / level.interval + 0.000001) + 1)
  end
  return count
end
