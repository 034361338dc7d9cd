-- Enters a server that knows the time `known` (ms) and waits in a `mode`. Returns its rank among
-- those of the mode that know no later time, and have waited longer. A server that took a job goes
-- to the end.
local function line_up(waiting, line, server, mode, known, took)
  if took or not server.waits or server.mode ~= mode then
    server.since = now
  end
  server.waits, server.coming, server.mode, server.known = true, false, mode, known
  write_server(waiting, server)
  local rank = 0
  for _, other in ipairs(line) do
    if other.waits and other.mode == mode and other.channel ~= server.channel
      and other.known <= known and (other.since < server.since
        or (other.since == server.since and other.channel < server.channel)) then
      rank = rank + 1
    end
  end
  return rank
end
