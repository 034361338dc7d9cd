-- The states of the type and of groups: `interval:burst:slots:paused:tat:last:units:leased:free:about:by:why`,
-- as in a queue's state; free: since when concurrency and pauses allow. A group has one while it has limits, a
-- pause or leases, the type while it has limits or a pause: then `line` is its schedule, and `ready` does not
-- exist.
local function decode_level(text)
  local interval, burst, slots, paused, tat, last, units, leased, free, about, by, why =
    string.match(text or '0:0:0:0:0:0:0:0:0:::',
      '^(.-):(%d+):(%d+):(.-):(.-):(.-):(%d+):(%d+):(.-):(.-):(.-):(.-)$')
  local level = {
    interval = tonumber(interval), burst_api = tonumber(burst), slots_api = tonumber(slots),
    paused = tonumber(paused), tat = tonumber(tat), last = tonumber(last), units = tonumber(units),
    leased = tonumber(leased), free = tonumber(free), about = about, by = by, why = why,
  }
  level.last = level.last > 0 and level.last or nil
  level.burst = level.burst_api > 1 and level.burst_api or nil
  level.concurrency = level.slots_api > 0 and level.slots_api or nil
  return level
end

local function encode_level(level)
  return string.format('%.3f:%d:%d:%.3f:%.3f:%.3f:%d:%d:%.3f:%s:%s:%s', level.interval,
    level.burst_api, level.slots_api, level.paused or 0, level.tat, level.last or 0,
    level.units or 0, level.leased, level.free, level.about, level.by, level.why)
end

-- k: ready limit. `text` is the type's state, if it has one.
local function open_levels(k, text)
  k.type = text and decode_level(text)
  k.line, k.groups, k.touched, k.stood = text and line_key(k.limit) or k.ready, {}, {}, {}
end

local function schedule_of(k, group)
  return group and schedule_key(k.limit, group) or k.line
end

local function load_group(k, group)
  if not k.groups[group] then
    k.groups[group] = decode_level(redis.call('GET', group_key(k.limit, group)))
  end
  return k.groups[group]
end

-- Notes that a group, or the first turn in its schedule, changes; `save_levels` writes it.
local function touch(k, group)
  if group then
    k.touched[group], k.stood[group] = load_group(k, group), nil
  end
end
