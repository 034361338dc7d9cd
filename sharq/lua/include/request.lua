-- What a dequeue was answered, as `queue_id/job_id/n/length` words behind the number of the call:
-- a repeated call gets those jobs again that are still under the same lease. A client's request_id
-- has no number, and is kept for the lease; a server's own mark is that of its last call.
local RECOVERY_TTL = 30000

local function remember(request, seq, taken, lease_ms)
  redis.call('SET', request, seq .. '|' .. table.concat(taken, ' '))
  expire(request, seq == '' and lease_ms or RECOVERY_TTL)
end

local function remembered(request, seq)
  local mark = redis.call('GET', request)
  local number, answer = string.match(mark or '', '^(%d*)|(.*)$')
  return number == seq and answer
end

local function replay(out, answer, actives)
  for queue_id, job_id, n, length in string.gmatch(answer, '([^/ ]+)/([^/]+)/(%d+)/(%d+)') do
    local record = redis.call('HGET', actives .. queue_id, job_id)
    local job = record and unpack_leased(record)
    if job and job.n == n then
      answer_job(out, queue_id, job_id, job, tonumber(length))
    end
  end
  return out
end
