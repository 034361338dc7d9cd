-- The stored form of a leased job: `n:request:` before its record. `n` is its lease, `request` the
-- request_id of the dequeue that took it.
local function unpack_leased(record)
  local n, request, seq, left, attempt, payload =
    string.match(record, '^(%d+):([^:]*):(%d+):(-?%d+):(%d+) (.*)$')
  return {
    n = n, request = request, seq = tonumber(seq), left = left, attempt = attempt + 1,
    payload = payload,
  }
end
