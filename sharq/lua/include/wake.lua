-- Something is ready at the time `at` (ms; nil: there is no news). Where servers wait, and none of
-- them knows of so early a time, the one that has waited longest is told through its channel. On a
-- cluster (channels with a `*`) PUBLISH counts the listeners of one node alone.
local function wake(waiting, at, line)
  if not at then
    return false
  end
  line = line or line_of(waiting)
  for _, server in ipairs(line) do
    if server.waits and server.known <= at then
      return false
    end
  end
  while true do
    local first
    for _, server in ipairs(line) do
      if server.waits and (not first or server.since < first.since) then
        first = server
      end
    end
    if not first then
      return false
    end
    first.waits = false
    write_server(waiting, first)
    local heard = redis.call('PUBLISH', first.channel, waiting)
    if heard > 0 or string.find(first.channel, '*', 1, true) then
      return true
    end
  end
end
