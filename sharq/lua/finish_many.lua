-- Ends up to a hundred leased jobs of one type, in order, each as `finish` would.
-- KEYS: void leases
-- ARGV: queues actives marks retention interval_retention {queue_id job_id n}
-- Returns: {status}
--@include status clock record queue bucket mark lease finish_job
local k = {
  leases = KEYS[2], marks = ARGV[3], retention = tonumber(ARGV[4]),
  interval_retention = tonumber(ARGV[5]),
}
local out = {}
for i = 6, #ARGV, 3 do
  local queue_id = ARGV[i]
  k.queue, k.active = ARGV[1] .. queue_id, ARGV[2] .. queue_id
  out[#out + 1] = finish_job(k, queue_id, ARGV[i + 1], ARGV[i + 2])
end
return out
