-- Keeps the answer of a dequeue, as `queue_id/job_id/n/length` words after the number of the call, or behind the
-- answers `before`.
-- A client's request_id has no number, and is kept for the lease; a server's own mark is that
-- of its last call.
local RECOVERY_TTL = 30000

local function remember(request, seq, out, lease_ms, before)
  local words = {}
  for i = 4, #out, 8 do
    words[#words + 1] = out[i] .. '/' .. out[i + 1] .. '/' .. out[i + 2] .. '/' .. out[i + 5]
  end
  local ms = seq == '' and lease_ms or RECOVERY_TTL
  set_for(request, (before and before .. ' ' or seq .. '|') .. table.concat(words, ' '), ms)
end
