-- A new interval counts for what was charged since the last dispatch, too.
local function change_rate(level, interval)
  local old = level.interval
  if level.tat > 0 and old and old ~= interval then
    local last = level.last or level.tat - old
    -- Whole µs: a longer interval multiplies the error of the difference, too.
    local charged = math.floor((level.tat - last) * 1000 + 0.5) / 1000
    local units = old == 0 and math.max(level.units or 1, 1) or charged / old
    level.tat = math.min(grain(interval, last + units * interval), time_for(interval) + FARTHEST)
    level.last, level.units = last, units
  end
  level.interval = interval
end
