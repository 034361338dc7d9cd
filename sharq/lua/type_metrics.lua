-- One type: whether it has jobs, its dead letters, and the counts of ten minutes.
-- KEYS: void ready leases limit dead
-- ARGV: counters
-- Returns: has jobs (1 or 0), what holds it back (empty: nothing waits), ms until its limits allow (-1: nobody can
--   tell), dead letters, their bytes, when the oldest died (µs; empty: there is none), how many fell out, how
--   many were dropped, {minute (ms), enqueues, dequeues}
--@include clock dead_keys level level_keys levels held_by bucket count counts
local k = {ready = KEYS[2], limit = KEYS[4]}
open_levels(k, redis.call('GET', k.limit))
local waits, leased = redis.call('EXISTS', k.line) > 0, redis.call('EXISTS', KEYS[3]) > 0
local word, ends = '', math.huge
if waits then
  word, ends = held_by(k, nil, 0)
end
local sums = redis.call('HMGET', KEYS[5], 'bytes', 'fallen', 'dropped')
local out = {
  (waits or leased) and 1 or 0, word, ms_until(ends), redis.call('ZCARD', order_key(KEYS[5])),
  tonumber(sums[1] or 0), redis.call('ZRANGE', order_key(KEYS[5]), 0, 0, 'WITHSCORES')[2] or '',
  tonumber(sums[2] or 0), tonumber(sums[3] or 0),
}
for _, value in ipairs(counts(ARGV[1])) do
  out[#out + 1] = value
end
return out
