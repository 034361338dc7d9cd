-- Where queues and groups stand: a queue with waiting jobs in the schedule of its group, else in that of the
-- type; a group in that of the type as `=group`, at the later of its own time and its first queue's.
-- k: limit delayed, and what `open_levels` adds

-- When the queue's own limits and its jobs allow a dispatch; inf if only a finish or a resume can tell.
local function own_turn(k, q)
  local at = allowed_at(q)
  if q.waiting > q.late then
    return at
  end
  local due = redis.call('ZRANGE', k.delayed .. q.id, 0, 0, 'WITHSCORES')[2]
  return math.max(at, tonumber(due or 0))
end

-- A queue in another group than before moves there, with its leases.
local function move_home(k, q)
  if q.home == q.group then
    return
  end
  redis.call('ZREM', schedule_of(k, q.home), q.id)
  touch(k, q.home)
  touch(k, q.group)
  if q.home then
    add_leases(k.groups[q.home], -q.leased)
  end
  if q.group then
    add_leases(k.groups[q.group], q.leased)
  end
  q.home = q.group
end

local function leave(k, q)
  redis.call('ZREM', schedule_of(k, q.home), q.id)
  touch(k, q.home)
end

local function stand_at(k, q, at)
  redis.call('ZADD', schedule_of(k, q.home), at, q.id)
  touch(k, q.home)
end

-- Enters a queue with waiting jobs again. If it was ready and still is, it keeps its turn.
local function take_turn(k, q)
  local since = tonumber(redis.call('ZSCORE', schedule_of(k, q.home), q.id) or now)
  move_home(k, q)
  stand_at(k, q, math.max(own_turn(k, q), math.min(since, now)))
end

-- The same after the end of a lease, which changes the turn only by a concurrency or a settled cost.
local function take_turn_after_lease(k, q)
  if q.waiting > 0 and (q.concurrency or q.settled) then
    take_turn(k, q)
  end
end
