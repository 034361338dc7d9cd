-- Leases up to `wanted` jobs, each from the queue that has been ready longest, while they fit into
-- `room` bytes, and appends them to `out`. Returns the time (ms) of the schedule's next job: nil if
-- one may be ready now, `inf` if none is scheduled.
-- k: ready leases held serial queues jobs returned delayed counters
-- A round reads queues, takes their jobs, and writes. It takes a job at least, or corrects the
-- schedule of queues without a ready job: this many times, at most.
local SPARE_ROUNDS = 10

-- Takes jobs of queues in turn, until there are `limit` or none is left; returns the room left.
local function take_in_turn(k, out, batch, list, limit, room)
  while #list > 0 do
    local again = {}
    for _, q in ipairs(list) do
      local left = take_one(k, out, batch, q, room)
      room = left or room
      if room < 0 or #batch.members == limit then
        return room
      elseif left and q.waiting > 0 and q.tat <= now then
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
  for _ = 1, wanted + SPARE_ROUNDS do
    local limit = wanted - taken
    local ids = redis.call('ZRANGEBYSCORE', k.ready, '-inf', now, 'LIMIT', 0, limit)
    local batch = {members = {}, records = {}, all = #ids < limit}
    if #ids > 0 then
      local list = load_queues(k.queues, ids)
      room = take_in_turn(k, out, batch, list, limit, room)
      save_taken(k, list)
      number_taken(k, out, batch, list, lease_ms, request_id)
      taken = taken + #batch.members
    end
    if taken == wanted or room < 0 then
      return nil
    elseif batch.all then
      local next_at = redis.call('ZRANGE', k.ready, 0, 0, 'WITHSCORES')[2]
      return next_at and tonumber(next_at) or math.huge
    end
  end
  return nil
end
