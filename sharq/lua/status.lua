-- The state of a job.
-- KEYS: void ready leases held queue jobs returned delayed limit dead
-- ARGV: marks retention queue_id job_id
-- Returns: state; queued: jobs before it, ms until its turn (-1: nobody can tell), estimated (1 or 0), ms until it
--   is dispatched behind others of its group (-1: nobody can tell), what holds it back, its deliveries
--   that have ended, when it failed first (ms, or empty), worker, error;
--   active: ms until its lease ends, its deliveries that have ended, when it failed first (ms, or empty), worker,
--   error;
--   buried: the words of the dead letter, its death (µs)
--@include status clock record leased_record delayed history queue load_queue level level_keys levels held_by find read_places fresh_before standing bucket mark read_mark dead_keys
local queue_id, job_id = ARGV[3], ARGV[4]
local member = queue_id .. '/' .. job_id
local q = load_queue(KEYS[5], queue_id)

local function add_failures(out, ended, history)
  local first, _, worker, problem = unpack_history(history)
  local last = #out
  out[last + 1], out[last + 2], out[last + 3], out[last + 4] = ended, first or '', worker, problem
  return out
end

local record = find_waiting(q, KEYS[6], job_id)
if record then
  local k = {ready = KEYS[2], limit = KEYS[9], jobs = KEYS[6], returned = KEYS[7], delayed = KEYS[8]}
  open_levels(k, redis.call('GET', k.limit))
  local place, _, attempt, _, cost, history = unpack_waiting(record)
  return add_failures(standing(k, q, job_id, tonumber(place), cost), tonumber(attempt), history)
end
record = redis.call('HGET', KEYS[4], member)
if record then
  local job, ends = unpack_leased(record), redis.call('ZSCORE', KEYS[3], member)
  return add_failures({ACTIVE, math.max(0, ends - now)}, job.attempt - 1, job.history)
end
local n, state = read_mark(ARGV[1], tonumber(ARGV[2]), member)
local about = redis.call('HGET', about_key(KEYS[10]), member)
-- A job of the same name may have ended since.
if about and not (n and tonumber(n) > tonumber(string.match(about, '^%S+ (%d+)'))) then
  return {BURIED, about, redis.call('ZSCORE', order_key(KEYS[10]), member)}
end
return {state ~= BURIED and state or NOT_FOUND}
