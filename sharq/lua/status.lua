-- The state of a job.
-- KEYS: void ready leases held queue jobs returned delayed
-- ARGV: marks retention queue_id job_id
-- Returns: state; queued: jobs before it, ms until its turn, estimated (1 or 0);
--   active: ms until its lease ends
--@include status clock record delayed queue find read_places jobs_before bucket mark read_mark
local returned, delayed = KEYS[7], KEYS[8]
local queue_id, job_id = ARGV[3], ARGV[4]
local member = queue_id .. '/' .. job_id
local q = load_queue(KEYS[5])
local record = find_waiting(q, KEYS[6], job_id)
if record then
  local seq = tonumber((unpack_waiting(record)))
  local due = tonumber(redis.call('ZSCORE', delayed, delayed_member(seq, job_id)) or 0)
  local arrived = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, EXACT_TO)
  local before, estimated
  if seq >= q.head then
    before, estimated = fresh_before(q, KEYS[6], seq)
    before = q.back + #arrived + before
  else
    before = redis.call('ZCOUNT', returned, '-inf', '(' .. seq)
    for _, other in ipairs(arrived) do
      if tonumber((split_delayed(other))) < seq then
        before = before + 1
      end
    end
  end
  local first = math.max(redis.call('ZSCORE', KEYS[2], queue_id) or 0, now)
  local turn = math.max(due, first + before * q.interval)
  estimated = estimated or due > now or #arrived == EXACT_TO
  return {QUEUED, before, turn - now, estimated and 1 or 0}
end
if redis.call('HEXISTS', KEYS[4], member) == 1 then
  return {ACTIVE, math.max(0, redis.call('ZSCORE', KEYS[3], member) - now)}
end
local _, state = read_mark(ARGV[1], tonumber(ARGV[2]), member)
return {state or NOT_FOUND}
