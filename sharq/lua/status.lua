-- Where a job stands.
-- KEYS: void ready leases queue active returned delayed
-- ARGV: marks retention queue_id job_id
-- Returns: state; queued: jobs before it, ms until its turn, estimated (1 or 0);
--   active: ms until its lease ends
--@include status clock record queue bucket mark
local ready, leases, key, active, returned = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local queue_id, job_id = ARGV[3], ARGV[4]
local member = queue_id .. '/' .. job_id
local q = load_queue(key, job_id)
if q.job then
  local due = tonumber(redis.call('ZSCORE', KEYS[7], job_id) or 0)
  local seq = unpack_waiting(q.job).seq
  local before = q.back + seq - q.head
  if seq < q.head then
    before = redis.call('ZCOUNT', returned, '-inf', '(' .. seq)
  end
  local turn = math.max(due, q.tat + before * q.interval, now)
  return {QUEUED, before, turn - now, due > now and 1 or 0}
end
if redis.call('HEXISTS', active, job_id) == 1 then
  return {ACTIVE, math.max(0, redis.call('ZSCORE', leases, member) - now)}
end
local _, state = read_mark(ARGV[1], tonumber(ARGV[2]), member)
return {state or NOT_FOUND}
