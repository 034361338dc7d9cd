-- Retries up to a hundred dead letters of one type, in order: each is a new job.
-- KEYS: void ready held waiting limit dead
-- ARGV: queues jobs counters returned delayed {queue_id job_id}
-- Returns: {status (success, not_found, conflict)}
--@include status clock record queue encode rate queues find bucket count count_many put more level change_rate level_keys levels leases turns first_turn save_levels place delayed gap place_apart put_limited change_totals save_put_limited dead_keys letters retry_terms retry_letters waiting wake
local k = {
  ready = KEYS[2], held = KEYS[3], limit = KEYS[5], dead = KEYS[6], queues = ARGV[1], jobs = ARGV[2],
  counters = ARGV[3], returned = ARGV[4], delayed = ARGV[5],
}
local members = {}
for i = 6, #ARGV, 2 do
  members[#members + 1] = ARGV[i] .. '/' .. ARGV[i + 1]
end
if #members == 0 then
  return {}
end
local out, first = retry_letters(k, members)
wake(KEYS[4], first)
return out
