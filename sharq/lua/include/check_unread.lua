-- A queue that nothing was read of is new, or somebody has put a key of another kind in its place, on
-- which this fails.
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
