-- The answers of `show_limits`.
local function text_of(number)
  return number and number > 0 and string.format('%.3f', number) or ''
end

local function debt_of(level)
  return level.tat > EXACT and text_of(level.tat) or ''
end

local function setter(by_api, by_enqueue)
  return by_api and 'api' or by_enqueue and 'enqueue' or ''
end

-- The end of a pause: `%.3f` of inf is 'inf'.
local function pause_of(level)
  local till = level.paused or 0
  return till > EXACT and text_of(till) or ''
end

local function show_queue(k, queue_id, key)
  local q = load_queue(key)
  if q.waiting + q.leased == 0 then
    begin_anew(q)
  end
  local none = {burst = 0, burst_api = 0, slots = 0, slots_api = 0, group = '', group_api = ''}
  local m, word, ends = q.more or none, '', math.huge
  if q.waiting > 0 then
    local due = q.waiting == q.late
      and redis.call('ZRANGE', k.delayed .. queue_id, 0, 0, 'WITHSCORES')[2] or 0
    word, ends = held_by(k, q, tonumber(due))
  end
  local used = has_interval(q)
  local interval = used and string.format('%.3f', q.interval) or ''
  return {
    interval, used and setter(q.api, true) or '',
    q.burst or (m.burst_api > 0 and 1 or 0), setter(m.burst_api > 0, m.burst > 0),
    q.concurrency or 0, setter(m.slots_api > 0, m.slots > 0),
    q.group or '', setter(m.group_api ~= '', m.group ~= ''), m.about or '', debt_of(q), q.leased,
    q.waiting, pause_of(q), m.by or '', m.why or '', word, ms_until(ends),
  }
end

-- `waits`: whether a job waits there.
local function show_level(k, level, waits, group)
  local word, ends = '', math.huge
  if waits then
    word, ends = held_by(k, group and {group = group, interval = 0, tat = 0} or nil, 0)
  end
  return {
    text_of(level.interval), setter(level.interval > 0), level.burst_api,
    setter(level.burst_api > 0), level.slots_api, setter(level.slots_api > 0), '', '', level.about,
    debt_of(level), level.leased, -1, pause_of(level), level.by, level.why, word, ms_until(ends),
  }
end
