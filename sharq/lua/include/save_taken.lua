-- Writes the changes in queues of `list` after jobs were taken from them. Begins with a
-- removal, so that it works in a full store.
-- k: ready jobs returned delayed
local function remove_popped(k, q, empty)
  if q.restored then
    redis.call('ZREM', k.returned .. q.id, unpack(q.restored))
  end
  if q.waiting == 0 then
    empty[#empty + 1] = k.jobs .. q.id
  else
    redis.call('HDEL', k.jobs .. q.id, unpack(q.popped))
  end
end

local function save_popped(k, list)
  local empty = {}
  for _, q in ipairs(list) do
    if q.popped then
      remove_popped(k, q, empty)
    end
  end
  if #empty > 0 then
    redis.call('UNLINK', unpack(empty))
  end
end

local function save_states(list)
  local states = {}
  for _, q in ipairs(list) do
    if q.counted or q.collected then
      local last = #states
      states[last + 1], states[last + 2] = q.key, encode_queue(q)
    end
  end
  if #states > 0 then
    redis.call('MSET', unpack(states))
  end
end

local function save_taken(k, list)
  local emptied, turns = {}, {}
  for _, q in ipairs(list) do
    if q.visited and q.waiting > 0 and not q.damaged then
      local last = #turns
      turns[last + 1], turns[last + 2] = due_at(q, k.delayed .. q.id), q.id
    elseif q.visited then
      emptied[#emptied + 1] = q.id
    end
  end
  save_popped(k, list)
  if #emptied > 0 then
    redis.call('ZREM', k.ready, unpack(emptied))
  elseif list[1].visited and not list[1].popped then
    redis.call('ZREM', k.ready, list[1].id)
  end
  if #turns > 0 then
    redis.call('ZADD', k.ready, unpack(turns))
  end
  save_states(list)
end
