-- What is stored of a job: `seq:left:attempt payload` while it waits, with `n:request:` before it
-- while it is leased. `seq` is its place in the order of enqueues, `left` the requeues that remain
-- (-1: for ever), `attempt` the deliveries that have ended, `n` its lease, `request` the request_id
-- of the dequeue that took it. In the set of delayed jobs it is `seq/job_id`.
local function payload_of(record)
  return string.sub(record, string.find(record, ' ', 1, true) + 1)
end

local function pack_waiting(seq, left, attempt, payload)
  return string.format('%d:%s:%d ', seq, left, attempt) .. payload
end

local function unpack_waiting(record)
  return string.match(record, '^(%d+):(-?%d+):(%d+) (.*)$')
end

local function unpack_leased(record)
  local n, request, seq, left, attempt, payload =
    string.match(record, '^(%d+):([^:]*):(%d+):(-?%d+):(%d+) (.*)$')
  return {
    n = n, request = request, seq = tonumber(seq), left = left, attempt = attempt + 1,
    payload = payload,
  }
end

local function delayed_member(seq, job_id)
  return string.format('%d/', seq) .. job_id
end

local function split_delayed(member)
  return string.match(member, '^(%d+)/(.+)$')
end
