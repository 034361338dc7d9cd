-- Loads queues by their ids, each once: a list in their order, and the same by id. A key of another
-- kind is read as missing. Returns last the text in the key `besides`, if that is given.
local function load_queues(prefix, ids, besides)
  local keys, list, by_id = {}, {}, {}
  for _, queue_id in ipairs(ids) do
    if not by_id[queue_id] then
      local at = #keys + 1
      by_id[queue_id], keys[at], list[at] = true, prefix .. queue_id, queue_id
    end
  end
  keys[#keys + 1] = besides
  local texts = redis.call('MGET', unpack(keys))
  for at, queue_id in ipairs(list) do
    local q = decode_queue(keys[at], texts[at])
    q.id = queue_id
    list[at], by_id[queue_id] = q, q
  end
  return list, by_id, besides and texts[#keys]
end
