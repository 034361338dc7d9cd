-- Sets the end (ms, inf: open, nil: now) of a pause, `by` whom and `why`.
local function set_pause(level, names, till, by, why)
  keep_turn(level, allowed_at(level))
  level.paused, names.by, names.why = till, till and by or '', till and why or ''
end

local function pause_queue(k, q, till, by, why)
  if q.waiting + q.leased == 0 then
    begin_anew(q)
  end
  q.interval = q.interval or 0
  set_pause(q, with_more(q), till, by, why)
  if q.waiting > 0 then
    take_turn(k, q)
  end
  save_queue(q, k.interval_retention)
  keep(k, q.id, q)
  --@audit 'pause', q.id, 'till', (till or 0) < math.huge and till or till and -1 or 0
end

local function pause_group(k, group, till, by, why)
  touch(k, group)
  set_pause(k.groups[group], k.groups[group], till, by, why)
  keep(k, '=' .. group, k.groups[group])
  --@audit 'pause', '=' .. group, 'till', (till or 0) < math.huge and till or till and -1 or 0
end

local function pause_type(k, till, by, why)
  limit_type(k)
  set_pause(k.type, k.type, till, by, why)
  k.type.changed = true
  keep(k, '=', k.type)
  --@audit 'pause', '=', 'till', (till or 0) < math.huge and till or till and -1 or 0
  lift_type(k)
end
