-- Wakes the server that has waited longest in a `mode`, through its channel; on a cluster (channels
-- with a `*`) PUBLISH counts the listeners of one node only. Returns whether there was one. Its
-- entry stays as about to ask, if others wait only to offer.
local function tell_first(waiting, line, mode)
  while true do
    local first, offers
    for _, server in ipairs(line) do
      if server.waits and server.mode == mode and (not first or server.since < first.since) then
        first = server
      end
      offers = offers or (server.waits and server.mode == NOTIFY)
    end
    if not first then
      return false
    end
    local heard = redis.pcall('PUBLISH', first.channel, waiting)
    local refused = type(heard) == 'table' and heard.err
    local told = not refused
      and (heard > 0 or string.find(first.channel, '*', 1, true) ~= nil)
    first.waits, first.coming = false, told and offers and mode == DELIVER
    write_server(waiting, first)
    if refused then
      -- The script's writes stay: the next server that asks finds the jobs.
      redis.log(redis.LOG_WARNING, 'SharQ: nobody is woken: ' .. refused)
      return false
    elseif told then
      return true
    end
  end
end

-- Something is ready at the time `at` (ms; nil or inf: no news): if servers wait, and none of them knows
-- such an early time, one is woken. Returns whether it was. Those that can only offer jobs are
-- skipped while one with room waits, or is about to ask.
local function wake(waiting, at, line)
  line = at and at < math.huge and (line or line_of(waiting)) or {}
  local coming = false
  for _, server in ipairs(line) do
    if server.waits and server.mode == DELIVER and server.known <= at then
      return false
    end
    coming = coming or server.coming
  end
  if #line == 0 or tell_first(waiting, line, DELIVER) then
    return #line > 0
  end
  for _, server in ipairs(line) do
    if coming or (server.waits and server.known <= at) then
      return false
    end
  end
  return tell_first(waiting, line, NOTIFY)
end
