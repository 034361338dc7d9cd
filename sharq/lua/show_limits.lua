-- The limits of a queue, a group or the type: what is in force, and who has set it.
-- KEYS: void ready leases limit
-- ARGV: queues delayed kind name
-- Returns: interval (ms; empty: none), set by (enqueue, api; empty: nobody), burst (0: none), set by,
--   concurrency (0: none), set by, group (empty: none), set by, reason, tat (ms; empty: none), leased jobs, waiting
--   jobs (-1: not of a queue), end of the pause (ms; inf: open; empty: none), paused by, reason, what
--   holds it back (empty: nothing waits), ms until its limits allow (-1: nobody can tell)
--@include clock queue load_queue rate level level_keys levels held_by shown
local k = {ready = KEYS[2], leases = KEYS[3], limit = KEYS[4], delayed = ARGV[2]}
local kind, name = ARGV[3], ARGV[4]
open_levels(k, redis.call('GET', k.limit))
if kind == 'queue' then
  return show_queue(k, name, ARGV[1] .. name)
elseif kind == 'group' then
  return show_level(k, load_group(k, name), redis.call('ZCARD', schedule_of(k, name)) > 0, name)
end
local level = k.type or decode_level(nil)
level.leased = redis.call('ZCARD', k.leases)
return show_level(k, level, redis.call('EXISTS', k.line) == 1, nil)
