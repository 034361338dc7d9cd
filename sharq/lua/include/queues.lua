-- Loads queues by their ids, each once: a list in their order, and the same by id. A key of another
-- kind is read as missing.
local function load_queues(prefix, ids)
  local keys, list, by_id = {}, {}, {}
  for _, queue_id in ipairs(ids) do
    if not by_id[queue_id] then
      local at = #keys + 1
      by_id[queue_id], keys[at], list[at] = true, prefix .. queue_id, queue_id
    end
  end
  for at, text in ipairs(redis.call('MGET', unpack(keys))) do
    local q = decode_queue(keys[at], text)
    q.id = list[at]
    list[at], by_id[q.id] = q, q
  end
  return list, by_id
end
