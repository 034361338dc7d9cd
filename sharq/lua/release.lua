-- Gives a leased job back before its lease ends.
-- KEYS: void ready leases held waiting queue jobs returned delayed
-- ARGV: marks retention interval_retention queue_id job_id n delay counted
-- Returns: status (queued, dead, not_active, stale_lease, already_finished)
--@include status clock record leased_record delayed spend queue save schedule bucket mark read_mark refusal lease give_back waiting wake
local k = {
  ready = KEYS[2], leases = KEYS[3], held = KEYS[4], queue = KEYS[6], jobs = KEYS[7],
  returned = KEYS[8], delayed = KEYS[9], marks = ARGV[1], retention = tonumber(ARGV[2]),
  interval_retention = tonumber(ARGV[3]),
}
local queue_id, job_id = ARGV[4], ARGV[5]
local job, refusal =
  leased_job(k.held, k.marks, k.retention, queue_id .. '/' .. job_id, ARGV[6])
if not job then
  return refusal
end
local status, at = give_back(k, queue_id, job_id, job, ARGV[8] == '1', tonumber(ARGV[7]))
wake(KEYS[5], at)
return status
