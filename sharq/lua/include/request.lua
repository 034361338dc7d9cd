-- What a dequeue with a request_id was answered, as `queue_id/job_id/n/length` words; the same
-- request_id gets those jobs again that are still under the same lease.
local function remember(request, taken, lease_ms)
  redis.call('SET', request, table.concat(taken, ' '))
  expire(request, lease_ms)
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
