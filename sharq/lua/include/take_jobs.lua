-- Leases up to `wanted` jobs, each from the queue that has been ready longest, while they fit into
-- `room` bytes, and appends them to `out`. Returns the time (ms) of the schedule's next job: nil if
-- one may be ready now, `inf` if none is scheduled; then whether `take_limited` has to take the rest.
-- k: ready leases held serial limit queues jobs returned delayed counters till
-- A round reads queues, takes their jobs, and writes. It takes a job at least, or corrects the
-- schedule of queues without a ready job: this many times, at most.
local SPARE_ROUNDS = 10

-- Takes jobs of queues in turn, until there are `limit` or none is left; returns the room left.
local function take_in_turn(k, out, batch, list, limit, room)
  while #list > 0 do
    local again = {}
    for _, q in ipairs(list) do
      local left = take_one(k, out, batch, q, room)
      room, batch.limited = left or room, batch.limited or q.limited
      if room < 0 or #batch.members == limit or batch.limited then
        return room
      elseif left and q.waiting > 0 and q.tat <= (k.till or now) then
        again[#again + 1] = q
      end
    end
    -- If not all ready queues were read, one of the others may be next.
    list = batch.all and again or {}
  end
  return room
end

local function take_jobs(k, out, wanted, lease_ms, room, request_id)
  local taken = 0
  for round = 1, wanted + SPARE_ROUNDS do
    local limit = wanted - taken
    local batch = {members = {}, records = {}}
    local list = ready_queues(k, batch, limit)
    if #list > 0 then
      if round == 1 then
        list[1].since = redis.call('ZRANGE', k.ready, 0, 0, 'WITHSCORES')[2]
      end
      room = take_in_turn(k, out, batch, list, limit, room)
      save_taken(k, list)
      number_taken(k, out, batch, list, lease_ms, request_id)
      taken = taken + #batch.members
    end
    if taken == wanted or room < 0 then
      return nil, false
    elseif batch.limited then
      return nil, true
    elseif batch.all then
      local next_at = redis.call('ZRANGE', k.ready, 0, 0, 'WITHSCORES')[2]
      return tonumber(next_at or 'inf'), not next_at and redis.call('EXISTS', k.limit) == 1
    end
  end
  return nil, false
end
