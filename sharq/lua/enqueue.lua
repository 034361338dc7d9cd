-- Puts up to a hundred jobs of one type at the tails of their queues, in order. Everything is read
-- before the first write, so they get in together or, in a full store, not at all.
-- `options`: the bound of the queue's length, if any, or
-- `bound:burst:concurrency:group:cost:priority:delay`. `seldom`: what only these need, `returned delayed`.
-- KEYS: void ready held waiting limit
-- ARGV: queues jobs counters seldom {queue_id job_id payload interval requeue_limit options}
-- Returns: {status (queued, duplicate, conflict, full), length before it (`full:MS` where the queue's
--   rate has made room in MS milliseconds)}
--@include status clock record queue encode rate queues check_unread find bucket count count_many put save_put
local ids, members, out, limited = {}, {}, {}, false
for i = 5, #ARGV, 6 do
  local at, options = #ids + 1, ARGV[i + 5]
  ids[at], members[at] = ARGV[i], ARGV[i] .. '/' .. ARGV[i + 1]
  limited = limited or (options ~= '' and string.find(options, ':', 1, true) ~= nil)
end
if #ids == 0 then
  return out
end
local k = {ready = KEYS[2], held = KEYS[3], limit = KEYS[5], jobs = ARGV[2], counters = ARGV[3]}
local held = redis.call('HMGET', KEYS[3], unpack(members))
local list, queues, type_text = load_queues(ARGV[1], ids, k.limit)
check_unread(list)
for _, q in ipairs(list) do
  limited = limited or q.more
end
local put_one, save = put, save_put
if limited or type_text then
  --@include more level change_rate level_keys levels leases turns first_turn save_levels place delayed gap place_apart put_limited change_totals save_put_limited
  k.returned, k.delayed = string.match(ARGV[4], '^(%S+) (%S+)$')
  open_levels(k, type_text)
  put_one, save = put_limited, save_put_limited
end
local fresh, added = {}, 0
for at, member in ipairs(members) do
  local i, q = 6 * at - 1, queues[ids[at]]
  local status, length, record = put_one(k, q, held[at] or fresh[member],
    ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3]), ARGV[i + 4], ARGV[i + 5])
  out[2 * at - 1], out[2 * at] = status, length
  if record then
    fresh[member], added = record, added + 1
  end
end
local first = added > 0 and save(k, list, added)
if first and redis.call('EXISTS', KEYS[4]) == 1 then
  --@include waiting wake
  wake(KEYS[4], first)
end
return out
