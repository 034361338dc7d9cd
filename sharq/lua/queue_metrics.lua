-- One queue: lengths, rate and the counts of ten minutes.
-- KEYS: void ready queue delayed limit
-- ARGV: counters queue_id
-- Returns: waiting jobs, leased jobs, interval (empty: no such queue), set by the API (1 or 0),
--   ms until it is ready (-1: nothing waits, or nobody can tell), what holds it back (empty: nothing waits),
--   ms until its limits allow (-1: nobody can tell), jobs that went too early, {minute (ms), enqueues, dequeues}
--@include clock queue load_queue rate level level_keys levels held_by bucket count counts
local q = load_queue(KEYS[3])
if q.waiting + q.leased == 0 then
  begin_anew(q)
end
local k = {ready = KEYS[2], limit = KEYS[5]}
open_levels(k, redis.call('GET', k.limit))
local word, ends, at = '', math.huge, math.huge
if q.waiting > 0 then
  local due = 0
  if q.waiting == q.late then
    due = tonumber(redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')[2] or 0)
  end
  word, ends = held_by(k, q, due)
  at = tonumber(redis.call('ZSCORE', schedule_of(k, q.group), ARGV[2]) or 'inf')
end
local interval = has_interval(q) and string.format('%.3f', q.interval) or ''
local out = {
  q.waiting, q.leased, interval, q.api and 1 or 0, ms_until(at), word, ms_until(ends),
  tonumber(redis.call('HGET', ARGV[1] .. 'early', ARGV[2]) or 0),
}
for _, value in ipairs(counts(ARGV[1], ARGV[2])) do
  out[#out + 1] = value
end
return out
