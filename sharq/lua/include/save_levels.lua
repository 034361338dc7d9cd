-- Writes what has changed of groups and of the type.
-- k: limit, and what `open_levels` adds
local function has_limits(level)
  return level.interval + level.burst_api + level.slots_api > 0
end

-- While queues wait in it, a group remembers since when it allows.
local function save_group(k, group, level, first)
  local key, paused = group_key(k.limit, group), level.paused or 0
  if has_limits(level) or level.leased > 0 or paused == math.huge
    or math.max(paused, level.free) > first then
    redis.call('SET', key, encode_level(level))
  elseif paused > now then
    set_for(key, encode_level(level), paused - now)
  else
    redis.call('DEL', key)
  end
end

local function leave_line(k, group)
  if redis.call('ZREM', k.line, '=' .. group) == 1 then
    redis.call('ZREM', groups_key(k.limit), group)
  end
end

-- A group stands where its own limits and its first queue allow a dispatch. Notes the latter (inf: none). In a
-- full store, something has to be removed before.
local function stand_group(k, group, level)
  local first = tonumber(redis.call('ZRANGE', schedule_of(k, group), 0, 0, 'WITHSCORES')[2])
  k.stood[group] = first or math.huge
  if first then
    local at = math.max(allowed_at(level), first)
    if redis.call('ZADD', k.line, at, '=' .. group) == 1 then
      redis.call('ZADD', groups_key(k.limit), 0, group)
    end
  else
    leave_line(k, group)
  end
end

-- Returns the first turn.
local function save_levels(k)
  for group, level in pairs(k.touched) do
    if not k.stood[group] then
      stand_group(k, group, level)
    end
    save_group(k, group, level, k.stood[group])
  end
  if k.type and k.type.changed then
    redis.call('SET', k.limit, encode_level(k.type))
  end
  return first_turn(k)
end
