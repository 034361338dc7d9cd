-- Ends the leased jobs that are in `rows` from `first` on, for good and in order: their statuses.
-- k: leases held queues marks retention interval_retention
local function finish_jobs(k, rows, first)
  local members, out = {}, {}
  for i = first, #rows, 3 do
    members[#members + 1] = rows[i] .. '/' .. rows[i + 1]
  end
  if #members == 0 then
    return out
  end
  local records = redis.call('HMGET', k.held, unpack(members))
  local gone, ids, marks, ended = {}, {}, {}, {}
  for at, member in ipairs(members) do
    local i, record = first + 3 * (at - 1), records[at]
    local n = rows[i + 2]
    if ended[member] then
      local again = k.retention > 0 and (n == '' or n == ended[member])
      out[at] = again and ALREADY_FINISHED or NOT_ACTIVE
    elseif not record then
      out[at] = refusal_of(k.marks, k.retention, member, n)
    else
      local own = string.sub(record, 1, string.find(record, ':', 1, true) - 1)
      if n ~= '' and n ~= own then
        out[at] = STALE_LEASE
      else
        local last = #gone
        gone[last + 1], ids[last + 1], ended[member], out[at] = member, rows[i], own, SUCCESS
        marks[2 * last + 1], marks[2 * last + 2] = member, own .. ':' .. FINISHED
      end
    end
  end
  if #gone == 0 then
    return out
  end

  local list, queues = load_queues(k.queues, ids)
  for _, queue_id in ipairs(ids) do
    queues[queue_id].leased = queues[queue_id].leased - 1
  end
  redis.call('HDEL', k.held, unpack(gone))
  redis.call('ZREM', k.leases, unpack(gone))
  save_queues(list, k.interval_retention)
  write_marks(k.marks, k.retention, marks)
  return out
end
