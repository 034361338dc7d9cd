-- Where a waiting job stands: the answer of `status`.
-- k: ready limit jobs returned delayed, and what `open_levels` adds

-- The jobs before the place of one, and whether that is an estimate.
local function jobs_before(k, q, place)
  local before, estimated = redis.call('ZCOUNT', k.returned, '-inf', '(' .. string.format('%d', place)), false
  local arrived = redis.call('ZRANGEBYSCORE', k.delayed, '-inf', now, 'LIMIT', 0, EXACT_TO)
  for _, other in ipairs(arrived) do
    if tonumber((split_delayed(other))) < place then
      before = before + 1
    end
  end
  if place > q.head then
    local fresh, guessed = fresh_before(q, k.jobs, math.min(place, q.next))
    before, estimated = before + fresh, guessed
  end
  return before, estimated or #arrived == EXACT_TO
end

-- When a level allows a dispatch with so many of cost 1 before it, the first one at the time `start`.
local function turn_after(level, start, before)
  local paid = math.max(level.tat, start) + before * level.interval
  return math.max(start, paid - ahead_of(level))
end

-- The same for a job of a queue in a group, if the limits of that decide: others of the group go in turn.
local function turn_in_group(k, q, before)
  local group, schedule = load_group(k, q.group), schedule_of(k, q.group)
  local rank, queues = redis.call('ZRANK', schedule, q.id) or 0, redis.call('ZCARD', schedule)
  return turn_after(group, math.max(allowed_at(group), EXACT), rank + before * queues)
end

local function standing(k, q, job_id, place, cost)
  local due = tonumber(redis.call('ZSCORE', k.delayed, delayed_member(place, job_id)) or 0)
  local before, estimated = jobs_before(k, q, place)
  local first = tonumber(redis.call('ZSCORE', schedule_of(k, q.group), q.id) or 0)
  local turn = math.max(due, math.max(first, now) + before * q.interval)
  local word = held_by(k, q, due)
  local eta = math.max(due, turn_after(q, math.max(first, now), before))
  if q.group then
    eta = math.max(eta, turn_in_group(k, q, before))
  end
  if k.type then
    eta = math.max(eta, turn_after(k.type, math.max(allowed_at(k.type), EXACT), before))
  end
  local others = before > 0 and (q.more or cost ~= '')
  estimated = estimated or due > now or q.group or k.type or others
  return {QUEUED, before, ms_until(turn), estimated and 1 or 0, ms_until(eta), word}
end
