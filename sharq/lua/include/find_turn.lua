-- The queue whose turn it is, or nil and when the next one may go (nil: a group stood too early, and was moved).
local function find_turn(k, by_id)
  local entry = redis.call('ZRANGE', k.line, 0, 0, 'WITHSCORES')
  local turn = math.max(tonumber(entry[2] or 'inf'), k.type and allowed_at(k.type) or 0)
  if turn > (k.till or EXACT) then
    return nil, turn
  end
  local id = entry[1]
  local group = string.byte(id) == 61 and string.sub(id, 2) or nil
  if group then
    local first = redis.call('ZRANGE', schedule_of(k, group), 0, 0, 'WITHSCORES')
    touch(k, group)
    if not first[1] or math.max(tonumber(first[2]), allowed_at(k.groups[group])) > EXACT then
      leave_line(k, group)
      stand_group(k, group, k.groups[group])
      return nil, nil
    end
    id = first[1]
  end
  local q = by_id[id] or decode_queue(k.queues .. id, redis.call('MGET', k.queues .. id)[1])
  q.id, q.home, q.since, by_id[id] = id, group, turn, q
  return q
end
