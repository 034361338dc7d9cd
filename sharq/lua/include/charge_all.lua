-- Without an interval a group or a type has nothing to charge: it goes on to allow.
local function charge_level(level, cost)
  if level.interval > 0 then
    charge(level, cost)
  end
end

local function is_early(level)
  return level and level.interval > 0 and grain(level.interval, level.tat - ahead_of(level)) > EXACT
end

-- Charges a dispatch to the queue, its group and its type. Returns what its lease keeps of it.
local function charge_all(k, q, cost)
  if cost > 1 then
    with_more(q)
  end
  if is_early(q) or is_early(q.home and k.groups[q.home]) or is_early(k.type) then
    note_early(k, q.id)
  end
  charge(q, cost)
  local kept = string.format(':%d;%.3f,%.3f;', cost, q.tat, q.interval)
  if q.home then
    local group = k.groups[q.home]
    charge_level(group, cost)
    kept = kept .. string.format('%.3f,%.3f,%s', group.tat, group.interval, q.home)
  end
  kept = kept .. ';'
  if k.type then
    charge_level(k.type, cost)
    k.type.changed = true
    kept = kept .. string.format('%.3f,%.3f', k.type.tat, k.type.interval)
  end
  count_leases(k, q, 1)
  return kept
end
