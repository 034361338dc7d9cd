-- The state of a job.
-- KEYS: void ready leases held queue jobs returned delayed limit
-- ARGV: marks retention queue_id job_id
-- Returns: state; queued: jobs before it, ms until its turn (-1: nobody can tell), estimated (1 or 0), ms until it
--   is dispatched, if others of its group go before (-1: nobody can tell), what holds it back;
--   active: ms until its lease ends
--@include status clock record delayed queue load_queue level level_keys levels held_by find read_places fresh_before standing bucket mark read_mark
local queue_id, job_id = ARGV[3], ARGV[4]
local member = queue_id .. '/' .. job_id
local q = load_queue(KEYS[5], queue_id)
local record = find_waiting(q, KEYS[6], job_id)
if record then
  local k = {ready = KEYS[2], limit = KEYS[9], jobs = KEYS[6], returned = KEYS[7], delayed = KEYS[8]}
  open_levels(k, redis.call('GET', k.limit))
  local place, _, _, _, cost = unpack_waiting(record)
  return standing(k, q, job_id, tonumber(place), cost)
end
if redis.call('HEXISTS', KEYS[4], member) == 1 then
  return {ACTIVE, math.max(0, redis.call('ZSCORE', KEYS[3], member) - now)}
end
local _, state = read_mark(ARGV[1], tonumber(ARGV[2]), member)
return {state or NOT_FOUND}
