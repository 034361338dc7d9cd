-- A type that has limits or a pause has its schedule in `line`, so that `ready` does not exist.
-- k: ready leases limit, and what `open_levels` adds
local function move_schedule(from, to)
  if redis.call('EXISTS', from) == 0 then
    return
  elseif redis.call('EXISTS', to) == 0 then
    redis.call('RENAME', from, to)
  else
    -- A version before has put queues there.
    redis.call('ZUNIONSTORE', to, 2, from, to, 'AGGREGATE', 'MIN')
    redis.call('DEL', from)
  end
end

local function limit_type(k)
  if not k.type then
    k.type, k.line = decode_level(nil), line_key(k.limit)
    move_schedule(k.ready, k.line)
  end
end

-- Takes the state from a type whose limits were given back and whose pause has ended.
local function lift_type(k)
  if k.type and not has_limits(k.type) and (k.type.paused or 0) <= now then
    local line = k.line
    redis.call('DEL', k.limit)
    k.type, k.line = nil, k.ready
    move_schedule(line, k.ready)
  end
end
