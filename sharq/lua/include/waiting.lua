-- The servers that wait for jobs of the type, a hash: channel -> `since:known:seen:offered:until:for`.
--   since: its place in the line, the ms of its first call or of the last one that gave it a job
--   known: the time (ms) of the schedule's next job as it was told, `inf` for none; `+`: it has room
--     and is about to ask, `-`: it neither waits nor asks   seen: its last call, or wake-up (ms)
--   offered: jobs that it has offered to subscribers, until `until` (ms)
--   for: `d` where somebody there is to be given jobs, `n` where it could only offer them
-- A server that has not called for long, or not at its known time, is gone.
local GONE, OVERDUE, WAITING_TTL = 120000, 1000, 150000
local DELIVER, NOTIFY = 'd', 'n'

local function line_of(waiting)
  local fields = redis.call('HGETALL', waiting)
  local line = {}
  for i = 1, #fields, 2 do
    local since, known, seen, offered, till, mode =
      string.match(fields[i + 1], '^(%d+):([%d%-+inf]+):(%d+):(%d+):(%d+):(%a)$')
    seen = tonumber(seen)
    local server = {
      channel = fields[i], since = tonumber(since), offered = tonumber(offered), mode = mode,
      till = tonumber(till), waits = known ~= '-' and known ~= '+',
      coming = known == '+' and seen >= now - OVERDUE,
      known = known == 'inf' and math.huge or tonumber(known),
    }
    if server.till <= now then
      server.offered, server.till = 0, 0
    end
    local late = server.waits and server.known < now - OVERDUE and server.offered == 0
    if seen < now - GONE or late then
      redis.call('HDEL', waiting, server.channel)
    else
      line[#line + 1] = server
    end
  end
  return line
end

-- The entry of a channel's server, made if it is not there yet.
local function find_server(line, channel)
  for _, server in ipairs(line) do
    if server.channel == channel then
      return server
    end
  end
  local server = {
    channel = channel, since = now, offered = 0, till = 0, waits = false, mode = DELIVER,
  }
  line[#line + 1] = server
  return server
end

-- Removes before it adds, so that it works in a full store.
local function write_server(waiting, server)
  redis.call('HDEL', waiting, server.channel)
  if server.waits or server.coming or server.offered > 0 then
    local known = server.coming and '+' or '-'
    if server.waits then
      known = server.known == math.huge and 'inf' or string.format('%.0f', server.known)
    end
    redis.call('HSET', waiting, server.channel, string.format('%.0f:%s:%.0f:%d:%.0f:%s',
      server.since, known, now, server.offered, server.till, server.mode))
    expire(waiting, WAITING_TTL)
  end
end
