-- Gives up to a hundred leased jobs of one type back before their leases end, in order.
-- KEYS: void ready leases held waiting limit dead
-- ARGV: queues jobs returned delayed counters marks retention interval_retention failing delay counted
--   {queue_id job_id n}
-- Returns: {status (queued, dead, not_active, stale_lease, already_finished)}
--@include status clock record leased_record place delayed spend history backoff dead_keys letters bury trim queue load_queue encode rate save level level_keys levels leases turns first_turn save_levels bucket mark read_mark refusal lease count change_totals give_back waiting wake
local k = {
  ready = KEYS[2], leases = KEYS[3], held = KEYS[4], limit = KEYS[6], dead = KEYS[7],
  queues = ARGV[1], jobs = ARGV[2], returned = ARGV[3], delayed = ARGV[4], counters = ARGV[5],
  marks = ARGV[6], retention = tonumber(ARGV[7]), interval_retention = tonumber(ARGV[8]), failing = ARGV[9],
}
local told = {
  how = ARGV[11] == '1' and 'release' or 'return', delay = tonumber(ARGV[10]), worker = '', error = '',
}
local out, returned = {}, false
open_levels(k, redis.call('GET', k.limit))
for i = 12, #ARGV, 3 do
  local queue_id, job_id = ARGV[i], ARGV[i + 1]
  local job, refusal =
    leased_job(k.held, k.marks, k.retention, queue_id .. '/' .. job_id, ARGV[i + 2])
  if job then
    local q = load_queue(k.queues .. queue_id, queue_id)
    out[#out + 1] = give_back(k, q, job_id, job, told)
    returned = returned or out[#out] == QUEUED
  else
    out[#out + 1] = refusal
  end
end
if k.buried then
  trim(k)
end
local first = save_levels(k)
wake(KEYS[5], (returned or k.freed) and first or nil)
return out
