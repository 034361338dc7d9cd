-- One queue: lengths, rate and the counts of ten minutes.
-- KEYS: void ready queue
-- ARGV: counters queue_id
-- Returns: waiting jobs, leased jobs, interval (-1: no such queue), set by the API (1 or 0),
--   ms until it is ready (-1: nothing waits), {minute (ms), enqueues, dequeues}
--@include clock queue rate bucket count counts
local q = load_queue(KEYS[3])
if q.waiting + q.leased == 0 then
  begin_anew(q)
end
local at = redis.call('ZSCORE', KEYS[2], ARGV[2])
local out = {
  q.waiting, q.leased, q.interval or -1, q.api and 1 or 0,
  at and math.max(0, at - now) or -1,
}
for _, value in ipairs(counts(ARGV[1], ARGV[2])) do
  out[#out + 1] = value
end
return out
