-- The mean cost of some jobs of queues, and whether costs differ from 1.
local SAMPLE = 100

local function mean_cost(k, list)
  local sum, count = 0, 0
  for _, q in ipairs(list) do
    if count >= SAMPLE then
      break
    end
    local found = redis.call('HSCAN', k.jobs .. q.id, 0, 'COUNT', SAMPLE)[2]
    for i = 2, #found, 2 do
      local place, _, _, _, cost = unpack_waiting(found[i])
      if place then
        sum, count = sum + (tonumber(cost) or 1), count + 1
      end
    end
  end
  return count > 0 and sum / count or 1, sum > count
end
