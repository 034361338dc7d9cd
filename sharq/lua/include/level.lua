-- The limits of one level, a queue, a group or a type, by GCRA. A level has
--   interval, tat, leased; and where it has them burst (over 1), concurrency,
--   paused: end of its pause (ms, inf if open)   free: since when (ms) its concurrency and pause allow
--   last, units: time and cost of its last dispatch
-- Times are in ms, whole ones unless the interval has decimals: then they are exact to the µs.
local EXACT = now_us / 1000
-- How far a TAT lies ahead at most: ten years.
local FARTHEST = 315360000000

local function time_for(interval)
  return interval % 1 == 0 and now or EXACT
end

-- Up to the next ms, or µs where the interval has decimals. Less than half a µs is an error of the sum.
local function grain(interval, at)
  return interval % 1 == 0 and math.ceil(at - 0.0005) or math.floor(at * 1000 + 0.5) / 1000
end

-- For how long a level may go ahead of its rate.
local function ahead_of(level)
  return level.burst and math.min((level.burst - 1) * level.interval, FARTHEST) or 0
end

-- Since when, or from when on, the level allows a dispatch; inf if only a finish or a resume can tell.
local function allowed_at(level)
  if level.concurrency and level.leased >= level.concurrency then
    return math.huge
  end
  local at = grain(level.interval, level.tat - ahead_of(level))
  return math.max(at, level.paused or 0, level.free or 0)
end

-- Notes a change of a level that allowed since `before`: if it still does, it keeps its turn.
local function keep_turn(level, before)
  level.free = math.max(level.free or 0, math.min(before, now))
end

-- Charges a dispatch.
local function charge(level, cost)
  local at = time_for(level.interval)
  local tat = grain(level.interval, math.max(at, level.tat) + cost * level.interval)
  level.tat, level.last, level.units = math.min(tat, at + FARTHEST), at, cost
  if level.paused and level.paused <= EXACT then
    level.free, level.paused = math.max(level.free or 0, level.paused), nil
  end
end
