-- Retries dead letters: each is a new job at the tail of its queue, and the letter goes. Of what its queue was
-- limited by, only a queue without an interval gets anything; one that cannot be read is a conflict. Returns the
-- status of each member, as far as their payloads fit into ROOM bytes or of the first one, and the first turn.
-- k: held queues jobs returned delayed counters limit dead, and what `open_levels` adds
local ROOM = 4194304

local function is_unreadable(q)
  return not q.interval and redis.call('EXISTS', q.key) == 1
end

local function retry_letters(k, members)
  local abouts = redis.call('HMGET', about_key(k.dead), unpack(members))
  local held, ids = redis.call('HMGET', k.held, unpack(members)), {}
  for at, member in ipairs(members) do
    ids[at] = string.match(member, '^[^/]+')
  end
  local list, queues, type_text = load_queues(k.queues, ids, k.limit)
  for _, q in ipairs(list) do
    q.damaged = is_unreadable(q)
  end
  open_levels(k, type_text)
  local out, moved, room = {}, {}, ROOM
  for at, member in ipairs(members) do
    local q, job_id = queues[ids[at]], string.match(member, '/(.*)$')
    if not abouts[at] or moved[member] then
      out[at] = NOT_FOUND
    elseif q.damaged then
      out[at] = CONFLICT
    else
      local payload = redis.call('HGET', payloads_key(k.dead), member)
      room = room - #payload
      if room < 0 and at > 1 then
        break
      end
      local interval, left, options = terms_of(k, q, abouts[at])
      local status = put_limited(k, q, held[at], job_id, payload, interval, left, options)
      out[at] = status == QUEUED and SUCCESS or CONFLICT
      if status == QUEUED then
        moved[#moved + 1], moved[member] = member, true
      end
    end
  end
  if #moved == 0 then
    return out, nil
  end
  -- A removal of nothing comes first, so that it works in a full store, and the letters go last: nothing is lost
  -- if a damaged queue does not take its job.
  redis.call('HDEL', k.dead, '')
  local first = save_put_limited(k, list, #moved)
  for _, member in ipairs(moved) do
    remove_letter(k.dead, member)
    --@audit 'unburied', member, 'why', 'retry'
  end
  return out, first
end
