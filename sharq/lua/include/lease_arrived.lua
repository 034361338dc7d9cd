-- Leases the jobs that `arrive` has noted.
-- k: leases held serial counters arrived
local function lease_arrived(k, list)
  local count = #k.arrived
  if count == 0 then
    return
  end
  local first, leased, ends = next_serial(k.serial, count), {}, {}
  for i, job in ipairs(k.arrived) do
    leased[2 * i - 1], leased[2 * i] = job[1], string.format('%d::', first + i - 1) .. job[2]
    ends[2 * i - 1], ends[2 * i] = now + job[3], job[1]
  end
  redis.call('HSET', k.held, unpack(leased))
  redis.call('ZADD', k.leases, unpack(ends))
  for _, q in ipairs(list) do
    q.counted = q.took
  end
  count_many(k, 'd', list, count)
end
