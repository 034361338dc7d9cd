-- Writes what has changed in queues of `list` since jobs were taken from them. Begins with a
-- removal, so that it works in a full store.
-- k: ready jobs returned delayed
local function save_schedule(k, list)
  local emptied, turns = {}, {}
  for _, q in ipairs(list) do
    if q.visited and q.waiting > 0 then
      local last = #turns
      turns[last + 1], turns[last + 2] = due_at(q, k.delayed .. q.id), q.id
    elseif q.visited then
      emptied[#emptied + 1] = q.id
    end
  end
  redis.call('ZREM', k.ready, emptied[1] or list[1].id, unpack(emptied, 2))
  if #turns > 0 then
    redis.call('ZADD', k.ready, unpack(turns))
  end
end

local function save_taken(k, list)
  local changed, empty = {}, {}
  save_schedule(k, list)
  for _, q in ipairs(list) do
    if q.restored then
      redis.call('ZREM', k.returned .. q.id, unpack(q.restored))
    end
    if q.popped and q.waiting == 0 then
      empty[#empty + 1] = k.jobs .. q.id
    elseif q.popped then
      redis.call('HDEL', k.jobs .. q.id, unpack(q.popped))
    end
    if q.taken or q.collected then
      changed[#changed + 1] = q
    end
  end
  if #empty > 0 then
    redis.call('UNLINK', unpack(empty))
  end
  save_queues(changed)
end
