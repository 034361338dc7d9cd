-- Takes a job of the queue, whose turn it is, and gives both their next turns.
local function take_turn_of(k, out, batch, q, room)
  local allowed = allowed_at(q) <= EXACT
  local left = allowed and take_one(k, out, batch, q, room, charge_all)
  if not (left and left < 0) then
    local stays = q.waiting > 0 and not q.damaged
    -- Begins with a removal, so that it works in a full store.
    if not stays or not batch.begun then
      leave(k, q)
      batch.begun = true
    end
    if stays then
      stand_at(k, q, math.max(own_turn(k, q), left and now or 0))
    end
    if q.home then
      stand_group(k, q.home, k.groups[q.home])
    end
  end
  return left or room
end

-- Takes jobs one at a time, each from the queue that all limits have allowed longest: what is missing in `out`
-- after `take_jobs`, for types, groups and queues with any limits. Returns when the next job may go (ms; inf:
-- none is scheduled), or nil if one may be ready now.
local function take_limited(k, out, wanted, lease_ms, room, request_id)
  local batch, by_id, list, next_at = {members = {}, records = {}}, {}, {}, nil
  wanted = wanted - (#out - 3) / 8
  for _ = 1, wanted + SPARE_ROUNDS do
    local q, at = find_turn(k, by_id)
    if q then
      list[#list + 1], q.listed = not q.listed and q or nil, true
      room = take_turn_of(k, out, batch, q, room)
    end
    next_at = at
    if next_at or room < 0 or #batch.members == wanted then
      break
    end
  end
  if #list > 0 then
    save_popped(k, list)
    save_states(list)
    number_taken(k, out, batch, list, lease_ms, request_id)
  end
  k.turn = save_levels(k)
  return next_at
end
