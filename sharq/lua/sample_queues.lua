-- One page of the queues that have waiting jobs, see `page_of_queues`, as the store gives it: their states are read by
-- a command of its own, since to pass a thousand of them through a script takes the store twice as long.
-- KEYS: void ready leases limit
-- ARGV: part group cursor count
-- Returns: part, group, cursor (of the next page; an empty part after the last one), queues of the type (a group counts
--   as one), {queue_id or = and a group, score}
--@include level_keys queue_pages
local k = {ready = KEYS[2], leases = KEYS[3], limit = KEYS[4]}
local out, part, group, cursor = page_of_queues(k, ARGV[1], ARGV[2], ARGV[3], ARGV[4], '')
local line = redis.call('EXISTS', k.limit) == 1 and line_key(k.limit) or k.ready
table.insert(out, 1, redis.call('ZCARD', line))
table.insert(out, 1, cursor)
table.insert(out, 1, group)
table.insert(out, 1, part == 'leased' and '' or part)
return out
