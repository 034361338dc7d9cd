-- Ends up to a hundred leases of one type, in order, whose holders tell more than `finish` and `release` take: the
-- real cost, a pause, or a failure. `how`: finish, release (counted), return (not counted), fail or reject;
-- `cost`, `pause` (ms): empty if it is not told; `delay`: empty for the backoff; `scope` of the pause: queue, group
-- or type; `failing`: as `letters`, `backoff` and `trim` read it, `jobs:bytes:ms:min:max:seed`.
-- KEYS: void ready leases held waiting limit dead
-- ARGV: queues jobs returned delayed counters marks retention interval_retention failing
--   {queue_id job_id n how cost delay pause scope worker error}
-- Returns: {status (success, queued, dead, not_active, stale_lease, already_finished)}
--@include status clock record leased_record place delayed spend history backoff dead_keys letters bury trim queue load_queue encode rate save more level level_keys levels leases turns first_turn save_levels type_limits kept set_pause settle_cost bucket mark read_mark refusal lease count change_totals give_back end_told waiting wake
local k = {
  ready = KEYS[2], leases = KEYS[3], held = KEYS[4], limit = KEYS[6], dead = KEYS[7],
  queues = ARGV[1], jobs = ARGV[2], returned = ARGV[3], delayed = ARGV[4], counters = ARGV[5],
  marks = ARGV[6], retention = tonumber(ARGV[7]), interval_retention = tonumber(ARGV[8]), failing = ARGV[9],
}
local out, changed = {}, false
open_levels(k, redis.call('GET', k.limit))
for i = 10, #ARGV, 10 do
  local queue_id, job_id = ARGV[i], ARGV[i + 1]
  local job, refusal =
    leased_job(k.held, k.marks, k.retention, queue_id .. '/' .. job_id, ARGV[i + 2])
  if job then
    local told = {
      how = ARGV[i + 3], cost = tonumber(ARGV[i + 4]), delay = tonumber(ARGV[i + 5]),
      pause = tonumber(ARGV[i + 6]), scope = ARGV[i + 7], worker = ARGV[i + 8], error = ARGV[i + 9],
    }
    out[#out + 1], changed = end_told(k, queue_id, job_id, job, told), true
  else
    out[#out + 1] = refusal
  end
end
if k.buried then
  trim(k)
end
local first = save_levels(k)
wake(KEYS[5], changed and first or nil)
return out
