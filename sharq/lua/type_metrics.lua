-- One type: whether it has jobs, and the counts of ten minutes.
-- KEYS: void ready leases
-- ARGV: counters
-- Returns: has jobs (1 or 0), {minute (ms), enqueues, dequeues}
--@include clock bucket count counts
local out = {redis.call('EXISTS', KEYS[2], KEYS[3]) > 0 and 1 or 0}
for _, value in ipairs(counts(ARGV[1])) do
  out[#out + 1] = value
end
return out
