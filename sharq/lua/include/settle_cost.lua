-- The real cost of a dispatch that was charged `cost`. What a level keeps of a dispatch: the TAT that it left, and
-- the interval (nil: nothing was kept).
local function settle_level(level, cost, real, left, interval)
  if level.tat == 0 or level.interval == 0 or (interval and interval ~= level.interval) then
    return
  end
  local at, change = time_for(level.interval), (real - cost) * level.interval
  if change < 0 then
    -- What has served as idleness meanwhile is not given back.
    change = -math.min(-change, math.max(0, (left or 0) - at))
  end
  level.last = level.last or level.tat - level.interval
  local tat = math.min(grain(level.interval, level.tat + change), at + FARTHEST)
  if left and change < 0 then
    -- A charge that was cut at the farthest TAT is not given back as if it had been whole.
    tat = math.max(tat, math.min(level.tat, left - FARTHEST + real * level.interval))
  end
  level.tat = tat
end

-- Charges the real cost of a job to its queue, its group and its type, each as far as it is the same as at the
-- dispatch. A job of cost 1 in a queue without other limits keeps nothing: its queue is charged.
local function settle_cost(k, q, job, real)
  local charged = '^%d+;([^,;]*),?([^,;]*);([^,;]*),?([^,;]*),?([^,;]*);([^,;]*),?([^,;]*)$'
  local left, interval, group_left, group_interval, group, type_left, type_interval =
    string.match(job.charged, charged)
  with_more(q)
  settle_level(q, job.cost, real, tonumber(left), tonumber(interval))
  if group and group ~= '' and group == q.home then
    touch(k, group)
    settle_level(k.groups[group], job.cost, real, tonumber(group_left), tonumber(group_interval))
  end
  if type_left and type_left ~= '' and k.type then
    settle_level(k.type, job.cost, real, tonumber(type_left), tonumber(type_interval))
    k.type.changed = true
  end
end
