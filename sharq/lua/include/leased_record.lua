-- The stored form of a leased job: `n:request:` before its record. `n` is its lease, `request` the
-- request_id of the dequeue that took it. Behind `attempt:cost` may be what the dispatch was charged, for
-- the queue, the group and the type: `;tat,interval;tat,interval,group;tat,interval`, a TAT as it left it. The
-- history of a job that failed comes last.
local function unpack_leased(record)
  local n, request, place, left, attempt, more, history, payload =
    string.match(record, '^(%d+):([^:]*):(-?%d+):(-?%d+):(%d+):?([^! ]*)(%S*) (.*)$')
  return {
    n = n, request = request, place = tonumber(place), left = left, attempt = attempt + 1,
    payload = payload, cost = tonumber(string.match(more, '^%d+') or 1), charged = more,
    history = history,
  }
end
