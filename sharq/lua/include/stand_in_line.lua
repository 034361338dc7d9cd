-- What a server that has asked for jobs is in the line from now on: its rank. It waits where
-- `next_at` (ms; `inf`: none is scheduled) says when the next job may go, and not where that is nil.
local function stand_in_line(waiting, ready, channel, next_at, took)
  local line = line_of(waiting)
  local server = find_server(line, channel)
  if next_at then
    local rank = line_up(waiting, line, server, next_at, took)
    -- Whose turn is next has to know of it.
    if took and next_at < math.huge and rank == 0 then
      tell_first(waiting, others_of(line, channel))
    end
    return rank
  end
  if server.waits then
    server.waits = false
    write_server(waiting, server)
  end
  if #line > 0 then
    wake(waiting, tonumber(redis.call('ZRANGE', ready, 0, 0, 'WITHSCORES')[2]), line)
  end
  return 0
end
