-- How many jobs all limits allow now, up to `most` (or a few more): of a queue as many as it permits, of a
-- group and the type no more than they do.
-- k: queues, and what `open_levels` adds
local function ready_in(k, schedule, most)
  local ids = redis.call('ZRANGEBYSCORE', schedule, '-inf', EXACT, 'LIMIT', 0, most)
  local count = 0
  for _, q in ipairs(#ids > 0 and load_queues(k.queues, ids) or {}) do
    if count >= most then
      break
    elseif string.byte(q.id) == 61 then
      local group = string.sub(q.id, 2)
      local allowed = math.min(most - count, permitted(load_group(k, group)))
      count = count + (allowed > 0 and ready_in(k, schedule_of(k, group), allowed) or 0)
    elseif q.interval then
      count = count + math.min(permitted(q), math.max(1, q.waiting - q.late))
    end
  end
  return math.min(count, most)
end

local function ready_jobs(k, most)
  most = math.min(most, k.type and permitted(k.type) or most)
  return most > 0 and ready_in(k, k.line, most) or 0
end

-- When another queue, or the type, may go (ms); inf if none is scheduled.
local function next_turn(k)
  local blocked = k.type and allowed_at(k.type) or 0
  if blocked > EXACT then
    return first_turn(k) and math.max(first_turn(k), blocked) or math.huge
  end
  local later = redis.call('ZRANGEBYSCORE', k.line, '(' .. string.format('%.3f', EXACT), 'inf',
    'WITHSCORES', 'LIMIT', 0, 1)
  return tonumber(later[2] or 'inf')
end
