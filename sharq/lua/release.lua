-- Gives up to a hundred leased jobs of one type back before their leases end, in order.
-- KEYS: void ready leases held waiting
-- ARGV: queues jobs returned delayed marks retention interval_retention delay counted
--   {queue_id job_id n}
-- Returns: {status (queued, dead, not_active, stale_lease, already_finished)}
--@include status clock record leased_record delayed spend queue save schedule bucket mark read_mark refusal lease give_back waiting wake
local k = {
  ready = KEYS[2], leases = KEYS[3], held = KEYS[4], marks = ARGV[5], retention = tonumber(ARGV[6]),
  interval_retention = tonumber(ARGV[7]),
}
local delay, counted = tonumber(ARGV[8]), ARGV[9] == '1'
local out = {}
local earliest
for i = 10, #ARGV, 3 do
  local queue_id, job_id = ARGV[i], ARGV[i + 1]
  k.queue, k.jobs = ARGV[1] .. queue_id, ARGV[2] .. queue_id
  k.returned, k.delayed = ARGV[3] .. queue_id, ARGV[4] .. queue_id
  local job, refusal =
    leased_job(k.held, k.marks, k.retention, queue_id .. '/' .. job_id, ARGV[i + 2])
  if job then
    local status, at = give_back(k, queue_id, job_id, job, counted, delay)
    out[#out + 1] = status
    earliest = at and math.min(at, earliest or at) or earliest
  else
    out[#out + 1] = refusal
  end
end
wake(KEYS[5], earliest)
return out
