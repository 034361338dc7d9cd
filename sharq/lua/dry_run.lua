-- How long the jobs that wait now would take with other limits, and as it is; nothing changes.
-- KEYS: void ready leases limit
-- ARGV: queues delayed jobs kind name new_interval new_burst new_concurrency new_group
-- Returns: ms (-1: only finishes decide), ms as it is (-1: only finishes decide), estimated (1 or 0)
--@include clock record queue load_queue more level change_rate level_keys levels change_limits mean_cost drain
local k = {
  ready = KEYS[2], leases = KEYS[3], limit = KEYS[4], queues = ARGV[1], delayed = ARGV[2],
  jobs = ARGV[3],
}
local kind, name = ARGV[4], ARGV[5]
local values = {interval = ARGV[6], burst = ARGV[7], slots = ARGV[8], group = ARGV[9], about = ''}
open_levels(k, redis.call('GET', k.limit))
k.type = k.type or decode_level(nil)
k.type.leased = redis.call('ZCARD', k.leases)
local estimated, level, drain = true, k.type, nil
if kind == 'queue' then
  local q = load_queue(k.queues .. name, name)
  q.interval = q.interval or 0
  local cost, differs = mean_cost(k, {q})
  estimated = q.late > 0 or q.group ~= nil or limits(k.type) or differs
  level, drain = q, function()
    return drain_queue(k, q, cost)
  end
elseif kind == 'group' then
  level, drain = load_group(k, name), function()
    return drain_schedule(k, schedule_of(k, name), load_group(k, name))
  end
else
  drain = function()
    return drain_schedule(k, k.line, k.type)
  end
end
local QUEUES = 1000
k.budget = QUEUES
local before = drain()
k.budget = QUEUES
if kind == 'queue' then
  change_queue(level, values)
else
  change_level(level, values)
end
return {ms_or_open(drain()), ms_or_open(before), estimated and 1 or 0}
