-- Updates the entry of a server that has asked for jobs; returns its rank. It waits if `next_at`
-- (ms; `inf`: none is scheduled) says when the next job may go. If that is nil, it does not wait:
-- it asks again if it has room for `more`.
-- k: ready, or as `take_limited` leaves it
local function stand_in_line(waiting, k, channel, next_at, took, more)
  local line = line_of(waiting)
  local alone = #line == 0
  local server = find_server(line, channel)
  if next_at then
    local rank = line_up(waiting, line, server, DELIVER, next_at, took)
    -- The server whose turn is next has to know it.
    if took and next_at < math.huge and rank == 0 then
      server.waits = false
      tell_first(waiting, line, DELIVER)
    end
    return rank
  elseif alone then
    return 0
  end
  local coming = false
  for _, other in ipairs(line) do
    coming = coming or (more and other.waits and other.mode == NOTIFY and other ~= server)
  end
  if server.waits or server.coming or coming then
    server.waits, server.coming, server.mode = false, coming, DELIVER
    write_server(waiting, server)
  end
  local first = k.turn
  if not k.line then
    first = tonumber(redis.call('ZRANGE', k.ready, 0, 0, 'WITHSCORES')[2])
  end
  wake(waiting, first, line)
  return 0
end
