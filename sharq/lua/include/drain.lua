-- How long waiting jobs take: the time (ms from now) of the last dispatch, inf if only finishes decide.

local function limits(level)
  return level.interval > 0 or level.concurrency ~= nil or (level.paused or 0) > EXACT
end

local function ms_or_open(ms)
  return ms < math.huge and math.ceil(ms) or -1
end

-- That of `count` jobs at one level, if the others allow from the time `from` on.
local function drain_level(level, count, cost, from)
  local room = level.concurrency and level.concurrency - level.leased or math.huge
  if count == 0 then
    return 0
  elseif room < count or level.paused == math.huge then
    return math.huge
  end
  local start = math.max(allowed_at(level), from)
  local last = math.max(level.tat, start) + (count - 1) * cost * level.interval - ahead_of(level)
  return math.max(start, last) - EXACT
end

local function drain_queue(k, q, cost)
  local due = q.late > 0 and redis.call('ZRANGE', k.delayed .. q.id, -1, -1, 'WITHSCORES')[2] or 0
  local group = q.group and load_group(k, q.group)
  local from = math.max(allowed_at(q), group and allowed_at(group) or 0, allowed_at(k.type), EXACT)
  local ms = math.max(drain_level(q, q.waiting, cost, from), tonumber(due) - EXACT)
  return math.max(ms, group and drain_level(group, q.waiting, cost, from) or 0,
    drain_level(k.type, q.waiting, cost, from))
end

-- That of all queues in a schedule, and their jobs, as far as the first `k.budget` ones tell.
local function drain_schedule(k, schedule, level)
  local all, ids = redis.call('ZCARD', schedule), redis.call('ZRANGE', schedule, 0, k.budget)
  local count, ms, list, seen = 0, 0, {}, 0
  for _, id in ipairs(ids) do
    local group = string.match(id, '^=(.*)$')
    if k.budget <= 0 then
      break
    elseif group then
      local below, jobs = drain_schedule(k, schedule_of(k, group), load_group(k, group))
      ms, count = math.max(ms, below), count + jobs
    else
      list[#list + 1], k.budget = load_queue(k.queues .. id, id), k.budget - 1
    end
    seen = seen + 1
  end
  local cost = mean_cost(k, list)
  for _, q in ipairs(list) do
    ms, count = math.max(ms, drain_queue(k, q, cost)), count + q.waiting
  end
  count = math.ceil(count * all / math.max(seen, 1))
  local from = math.max(allowed_at(k.type), EXACT)
  return math.max(ms, drain_level(level, count, cost, from)), count
end
