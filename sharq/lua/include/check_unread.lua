-- A queue of which nothing was read is new, or its key was replaced by one of another kind: then
-- this fails.
local function check_unread(list)
  local unread = {}
  for _, q in ipairs(list) do
    if not q.interval then
      unread[#unread + 1] = q.key
    end
  end
  if #unread > 0 and redis.call('EXISTS', unpack(unread)) > 0 then
    for _, key in ipairs(unread) do
      redis.call('GET', key)
    end
  end
end
