-- The queues that a script works on, by their ids, each loaded once; `list` is in their order.
local function load_queues(prefix, ids)
  local keys, list, by_id = {}, {}, {}
  for _, queue_id in ipairs(ids) do
    if not by_id[queue_id] then
      by_id[queue_id] = true
      keys[#keys + 1] = prefix .. queue_id
      list[#list + 1] = queue_id
    end
  end
  if #keys == 0 then
    return list, by_id
  end
  local texts = redis.call('MGET', unpack(keys))
  for i, queue_id in ipairs(list) do
    local q = decode_queue(keys[i], texts[i])
    q.id = queue_id
    list[i], by_id[queue_id] = q, q
  end
  return list, by_id
end
