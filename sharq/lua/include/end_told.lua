-- Ends a lease with what its holder tells. Returns the status.

-- A worker's pause moves only a timed end later.
local function pause_from_worker(k, q, till, scope)
  local group = scope == 'group' and q.group
  local level = scope == 'type' and (k.type or {}) or group and load_group(k, group) or q
  if (level.paused or 0) >= till then
    return
  elseif scope == 'type' then
    pause_type(k, till, 'worker', '')
  elseif group then
    pause_group(k, group, till, 'worker', '')
  else
    pause_queue(k, q, till, 'worker', '')
  end
end

local function end_told(k, queue_id, job_id, job, told)
  local q = load_queue(k.queues .. queue_id, queue_id)
  if told.cost then
    --@note 'cost', queue_id .. '/' .. job_id, 'n', job.n, 'cost', job.cost, 'real', told.cost,
    --@ 'us', now_us % 1000
    settle_cost(k, q, job, told.cost)
    q.settled = true
  end
  local status = SUCCESS
  if told.how == 'finish' then
    local member = queue_id .. '/' .. job_id
    redis.call('HDEL', k.held, member)
    redis.call('ZREM', k.leases, member)
    count_leases(k, q, -1)
    take_turn_after_lease(k, q)
    save_queue(q, k.interval_retention)
    write_marks(k.marks, k.retention, {member, job.n .. ':' .. FINISHED})
    --@audit 'finish', member, 'n', job.n
  else
    status = give_back(k, q, job_id, job, told)
  end
  if told.pause then
    pause_from_worker(k, q, now + told.pause, told.scope)
  end
  return status
end
