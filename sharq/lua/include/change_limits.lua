-- Limits set by the API: '' leaves a value, '-' gives it back.
local function number_from(text, old)
  return text == '' and old or tonumber(text) or 0
end

local function text_from(text, old)
  return text == '' and old or text ~= '-' and text or ''
end

-- Changes what limits a queue, without writing it.
local function change_queue(q, values)
  local m = with_more(q)
  q.interval = q.interval or 0
  if values.interval ~= '' then
    q.api = values.interval ~= '-'
    change_rate(q, tonumber(values.interval) or q.interval)
  end
  m.burst_api = number_from(values.burst, m.burst_api)
  m.slots_api = number_from(values.slots, m.slots_api)
  m.group_api = text_from(values.group, m.group_api)
  m.about = text_from(values.about, m.about)
  take_effect(q)
end

-- A limit that is newly set begins full.
local function change_level(level, values)
  local before = allowed_at(level)
  local interval = number_from(values.interval, level.interval)
  if level.interval == 0 or interval == 0 then
    level.tat, level.last, level.interval = 0, nil, interval
  else
    change_rate(level, interval)
  end
  level.burst_api = number_from(values.burst, level.burst_api)
  level.slots_api = number_from(values.slots, level.slots_api)
  level.about = text_from(values.about, level.about)
  level.burst = level.burst_api > 1 and level.burst_api or nil
  level.concurrency = level.slots_api > 0 and level.slots_api or nil
  keep_turn(level, before)
end
