-- Gives leases to the jobs of a round: the last ones of `out`.
-- k: leases held serial counters
local function number_taken(k, out, batch, list, lease_ms, request_id)
  local size = #batch.members
  if size == 0 then
    return
  end
  local first, leased, ends = next_serial(k.serial, size), {}, {}
  local behind, before = ':' .. request_id .. ':', #out - 8 * size
  for i, member in ipairs(batch.members) do
    local n = string.format('%d', first + i - 1)
    out[before + 8 * i - 5] = n
    leased[2 * i - 1], leased[2 * i] = member, n .. behind .. batch.records[i]
    ends[2 * i - 1], ends[2 * i] = now + lease_ms, member
    --@note 'dispatch', member, 'n', n, 'place', (unpack_waiting(batch.records[i])),
    --@ 'left', out[before + 8 * i - 4], 'attempt', out[before + 8 * i - 3],
    --@ 'ends', now + lease_ms, 'request', request_id, 'us', now_us % 1000,
    --@ 'charged', (select(5, unpack_waiting(batch.records[i])))
  end
  redis.call('HSET', k.held, unpack(leased))
  redis.call('ZADD', k.leases, unpack(ends))
  count_many(k, 'd', list, size)
  --@audit
end
