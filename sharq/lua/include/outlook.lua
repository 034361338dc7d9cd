-- What a queue with waiting jobs may look forward to, by its own limits, its group's and the type's.

-- These levels of a queue, without those that do not limit anything.
local function levels_of(k, q)
  local levels = {q}
  levels[#levels + 1] = q.home and load_group(k, q.home)
  levels[#levels + 1] = k.type or nil
  return levels
end

-- What holds it back: a word, see `held_by`.
local function holder_of(k, q, queue_id)
  local due = q.waiting == q.late and redis.call('ZRANGE', k.delayed .. queue_id, 0, 0, 'WITHSCORES')[2] or 0
  return (held_by(k, q, tonumber(due)))
end

-- Since when, or from when on, all levels allow its next job, where its own turn is at `turn`; inf if only a finish or
-- a resume can tell.
local function next_goes(levels, turn)
  for at = 2, #levels do
    turn = math.max(turn, allowed_at(levels[at]))
  end
  return turn
end

-- When its last job goes, if rates and pauses alone decide, and nobody else has a part in them; inf until a resume.
local function last_goes(levels, count)
  local from, last = EXACT, 0
  for _, level in ipairs(levels) do
    from = math.max(from, level.paused or 0, level.tat - ahead_of(level))
  end
  for _, level in ipairs(levels) do
    last = math.max(last, math.max(level.tat, from) + (count - 1) * level.interval - ahead_of(level))
  end
  return math.max(from, last)
end
