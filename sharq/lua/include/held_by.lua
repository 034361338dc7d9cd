-- What holds a queue (or, without one, the type) back now: a word, and until when (ms, inf: until a finish or
-- a resume). Of several the one that ends last, of equals the outermost. `due`: when its first job is.
local NOTHING = 'nothing'

local function held_by(k, q, due)
  local word, ends = NOTHING, EXACT

  local function consider(what, till)
    if till > ends then
      word, ends = what, till
    end
  end

  local function consider_level(prefix, level)
    if level then
      consider(prefix .. 'paused', level.paused or 0)
      local full = level.concurrency and level.leased >= level.concurrency
      consider(prefix .. 'concurrency', full and math.huge or 0)
      consider(prefix .. 'interval', grain(level.interval, level.tat - ahead_of(level)))
    end
  end

  consider_level(q and 'type_' or '', k.type)
  if q then
    consider_level('group_', q.group and load_group(k, q.group))
    consider_level('', q)
    consider('delay', due)
  end
  return word, word == NOTHING and now or ends
end

-- In how many ms a time is, -1 for inf.
local function ms_until(at)
  return at < math.huge and math.max(0, math.ceil(at - now)) or -1
end
