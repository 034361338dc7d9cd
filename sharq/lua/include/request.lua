-- What a dequeue was answered, as `queue_id/job_id/n/length` words behind the number of the call:
-- a repeated call gets those jobs again that are still under the same lease. A client's request_id
-- has no number, and is kept for the lease; a server's own mark is that of its last call.
local RECOVERY_TTL = 30000

local function remember(request, seq, out, lease_ms)
  local words = {}
  for i = 3, #out, 7 do
    words[#words + 1] = table.concat({out[i], out[i + 1], out[i + 2], out[i + 5]}, '/')
  end
  redis.call('SET', request, seq .. '|' .. table.concat(words, ' '))
  expire(request, seq == '' and lease_ms or RECOVERY_TTL)
end

local function remembered(request, seq)
  local mark = redis.call('GET', request)
  local number, answer = string.match(mark or '', '^(%d*)|(.*)$')
  return number == seq and answer
end

local function replay(out, answer, held)
  for queue_id, job_id, n, length in string.gmatch(answer, '([^/ ]+)/([^/]+)/(%d+)/(%d+)') do
    local record = redis.call('HGET', held, queue_id .. '/' .. job_id)
    local job = record and unpack_leased(record)
    if job and job.n == n then
      local i = #out
      out[i + 1], out[i + 2], out[i + 3], out[i + 4] = queue_id, job_id, n, job.left
      out[i + 5], out[i + 6], out[i + 7] = job.attempt, tonumber(length), job.payload
    end
  end
  return out
end
