-- Removes up to a hundred jobs of one type, in order: waiting ones, and leased ones by their lease `n`.
-- They leave no mark, and the rate keeps its slots.
-- KEYS: void ready leases held waiting limit
-- ARGV: queues jobs returned delayed counters marks retention interval_retention {queue_id job_id n}
-- Returns: {status (success, not_found, already_finished, not_active, job_active)}
--@include status clock record delayed queue load_queue encode rate save level level_keys levels leases turns first_turn save_levels find gap bucket count change_totals remove_waiting mark read_mark refusal waiting wake
local k = {
  ready = KEYS[2], leases = KEYS[3], held = KEYS[4], limit = KEYS[6], queues = ARGV[1], jobs = ARGV[2],
  returned = ARGV[3], delayed = ARGV[4], counters = ARGV[5],
}
open_levels(k, redis.call('GET', k.limit))
local retention, interval_retention = tonumber(ARGV[7]), tonumber(ARGV[8])

local function cancel(queue_id, job_id, n)
  local member = queue_id .. '/' .. job_id
  local leased, q = redis.call('HGET', k.held, member), load_queue(k.queues .. queue_id, queue_id)
  if leased then
    if n ~= number_of(leased) then
      return JOB_ACTIVE
    end
    redis.call('HDEL', k.held, member)
    redis.call('ZREM', k.leases, member)
    count_type(k, 'o', 1)
    count_leases(k, q, -1)
    take_turn_after_lease(k, q)
  else
    -- A lease that was given has to be valid.
    local record = n == '' and find_waiting(q, k.jobs .. queue_id, job_id)
    if not record then
      local refusal = refusal_of(ARGV[6], retention, member, n)
      return refusal == NOT_ACTIVE and n == '' and NOT_FOUND or refusal
    end
    remove_waiting(k, q, job_id, record)
  end
  save_queue(q, interval_retention)
  --@audit 'cancel', member, 'n', leased and number_of(leased) or 0
  return SUCCESS
end

local out = {}
for i = 9, #ARGV, 3 do
  out[#out + 1] = cancel(ARGV[i], ARGV[i + 1], ARGV[i + 2])
end
local first = save_levels(k)
wake(KEYS[5], k.freed and first or nil)
return out
