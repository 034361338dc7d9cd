-- One type: its jobs and queues, its dead letters, and the counts of ten minutes.
-- KEYS: void ready leases held limit dead
-- ARGV: counters
-- Returns: has jobs (1 or 0), how many wait, how many of them are delayed, how many are leased, queues (a group
--   counts as one) that may go now, those that have to wait, ms since the first of them may go (-1: none may), jobs that
--   went too early, what holds the type back (empty: nothing waits), ms until its limits allow (-1: nobody can tell),
--   dead letters, their bytes, when the oldest died (µs; empty: there is none), how many fell out, how many were
--   dropped, {minute (ms), enqueues, dequeues, leases ended without a finish, leases at its beginning}
--@include clock dead_keys level level_keys levels held_by bucket count counts
local k = {ready = KEYS[2], limit = KEYS[5]}
open_levels(k, redis.call('GET', k.limit))
local size, active = redis.call('ZCARD', k.line), redis.call('HLEN', KEYS[4])
local word, ends, ready, since = '', math.huge, 0, -1
if size > 0 then
  word, ends = held_by(k, nil, 0)
end
if word == NOTHING then
  ready = redis.call('ZCOUNT', k.line, '-inf', EXACT)
  since = ready > 0 and now - redis.call('ZRANGE', k.line, 0, 0, 'WITHSCORES')[2] or -1
end
local waiting, delayed = totals_of(ARGV[1])
local early = redis.call('HGET', ARGV[1] .. 'early', '')
local sums = redis.call('HMGET', KEYS[6], 'bytes', 'fallen', 'dropped')
local out = {
  (size > 0 or redis.call('EXISTS', KEYS[3]) > 0) and 1 or 0, math.max(0, waiting), math.max(0, delayed),
  active, ready, size - ready, math.floor(since), tonumber(early or 0), word, ms_until(ends),
  redis.call('ZCARD', order_key(KEYS[6])), tonumber(sums[1] or 0),
  redis.call('ZRANGE', order_key(KEYS[6]), 0, 0, 'WITHSCORES')[2] or '', tonumber(sums[2] or 0),
  tonumber(sums[3] or 0),
}
for _, value in ipairs(counts(ARGV[1])) do
  out[#out + 1] = value
end
return out
