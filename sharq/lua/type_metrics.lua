-- One type: whether it has jobs, and the counts of ten minutes.
-- KEYS: void ready leases limit
-- ARGV: counters
-- Returns: has jobs (1 or 0), what holds it back (empty: nothing waits), ms until its limits allow (-1: nobody can
--   tell), {minute (ms), enqueues, dequeues}
--@include clock level level_keys levels held_by bucket count counts
local k = {ready = KEYS[2], limit = KEYS[4]}
open_levels(k, redis.call('GET', k.limit))
local waits, leased = redis.call('EXISTS', k.line) > 0, redis.call('EXISTS', KEYS[3]) > 0
local word, ends = '', math.huge
if waits then
  word, ends = held_by(k, nil, 0)
end
local out = {(waits or leased) and 1 or 0, word, ms_until(ends)}
for _, value in ipairs(counts(ARGV[1])) do
  out[#out + 1] = value
end
return out
