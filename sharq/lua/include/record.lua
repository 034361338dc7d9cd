-- What is stored of a job: `seq:left:attempt payload` while it waits, and
-- `seq:left:attempt:n:request payload` while it is leased. `seq` is its place in the order of
-- enqueues, `left` the requeues that remain (-1: for ever), `attempt` the deliveries so far,
-- `n` its lease, `request` the request_id of the dequeue that took it. In the set of delayed jobs
-- it is `seq/job_id`.
local function payload_of(record)
  return string.sub(record, string.find(record, ' ', 1, true) + 1)
end

local function pack_waiting(job)
  return job.seq .. ':' .. job.left .. ':' .. job.attempt .. ' ' .. job.payload
end

local function unpack_waiting(record)
  local seq, left, attempt, payload = string.match(record, '^(%d+):(-?%d+):(%d+) (.*)$')
  return {seq = tonumber(seq), left = left, attempt = tonumber(attempt), payload = payload}
end

local function pack_leased(job)
  return job.seq .. ':' .. job.left .. ':' .. job.attempt .. ':' .. job.n .. ':' .. job.request
    .. ' ' .. job.payload
end

local function unpack_leased(record)
  local seq, left, attempt, n, request, payload =
    string.match(record, '^(%d+):(-?%d+):(%d+):(%d+):([^ ]*) (.*)$')
  return {
    seq = tonumber(seq), left = left, attempt = tonumber(attempt),
    n = n, request = request, payload = payload,
  }
end

local function delayed_member(seq, job_id)
  return seq .. '/' .. job_id
end

local function split_delayed(member)
  return string.match(member, '^(%d+)/(.+)$')
end
