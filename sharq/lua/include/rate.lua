-- The rate of a queue, and how long what was set is kept.
local function has_api_limits(q)
  local m = q.more
  return q.api or (m and (m.burst_api + m.slots_api > 0 or m.group_api ~= ''))
end

local function give_limits_back(q)
  local m = q.more
  q.api = false
  if m then
    m.burst_api, m.slots_api, m.group_api, m.about = 0, 0, '', ''
    take_effect(q)
  end
end

-- If no job is left: what has run out is gone, and a queue of which nothing remains starts as a new one. Of a plain
-- queue no other fields are written, not even as nil: its table would grow.
local function begin_anew(q)
  local m = q.more
  if q.tat <= now then
    q.tat = 0
    if m then
      q.last = nil
    end
  end
  if q.retained <= now and (m or q.api) then
    give_limits_back(q)
  end
  if q.tat == 0 and not has_api_limits(q) and (q.paused or 0) <= now then
    q.interval = nil
    if m then
      q.more, q.paused, q.burst, q.concurrency, q.group = nil, nil, nil, nil, nil
    end
  end
end

-- Whether a queue has an interval: who only pauses it or sets its other limits sets none.
local function has_interval(q)
  return q.interval and (q.api or q.interval + q.tat + q.waiting + q.leased > 0)
end

-- A change of interval moves the dispatch that is already scheduled: TAT - old + new. For a queue
-- without other limits.
local function change_interval(q, interval)
  if q.tat > 0 then
    q.tat = q.tat - q.interval + interval
  end
  q.interval = interval
end
