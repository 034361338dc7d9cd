-- Puts the jobs that are in `rows` from `first` on, in order: the answers, and the time (ms) of the
-- earliest turn that is news, or nil. All is read before the first write, so that the jobs of a call
-- get in together or, in a full store, not at all.
-- k: ready held queues jobs counters
local function save_put(k, list)
  local saved, ids, counted, turns, earliest = {}, {}, {}, {}, nil
  for _, q in ipairs(list) do
    if q.added then
      saved[#saved + 1], ids[#ids + 1], counted[q.id] = q, q.id, q.added
    end
    if q.fields then
      redis.call('HSET', k.jobs .. q.id, unpack(q.fields))
    end
    if q.turn then
      local at = #turns
      turns[at + 1], turns[at + 2] = q.turn, q.id
      earliest = math.min(q.turn, earliest or q.turn)
    end
  end
  if #saved == 0 then
    return nil
  end
  save_queues(saved)
  if earliest then
    redis.call('ZADD', k.ready, unpack(turns))
  end
  count(k.counters, 'e', ids, counted)
  return earliest
end

local function put_jobs(k, rows, first)
  local members, ids, out = {}, {}, {}
  for i = first, #rows, 6 do
    ids[#ids + 1], members[#members + 1] = rows[i], rows[i] .. '/' .. rows[i + 1]
  end
  if #ids == 0 then
    return out
  end
  local held = redis.call('HMGET', k.held, unpack(members))
  local list, queues = load_queues(k.queues, ids)
  for at, queue_id in ipairs(ids) do
    local i = first + 6 * (at - 1)
    out[2 * at - 1], out[2 * at] = put(k, queues[queue_id], held[at], rows[i + 1], rows[i + 2],
      tonumber(rows[i + 3]), rows[i + 4], tonumber(rows[i + 5]))
  end
  return out, save_put(k, list)
end
