-- Tells the server that has waited longest, through its channel, that there is news; on a cluster
-- (channels with a `*`) PUBLISH counts the listeners of one node alone. Whether there was one.
local function tell_first(waiting, line)
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
    local heard = redis.pcall('PUBLISH', first.channel, waiting)
    if type(heard) == 'table' then
      -- What the script has done stays done: whoever asks next finds it.
      redis.log(redis.LOG_WARNING, 'SharQ: nobody is woken: ' .. heard.err)
      return false
    end
    if heard > 0 or string.find(first.channel, '*', 1, true) then
      return true
    end
  end
end

-- Something is ready at the time `at` (ms; nil: there is no news): where servers wait, and none of
-- them knows of so early a time, one is told. Whether it was.
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
  return tell_first(waiting, line)
end
