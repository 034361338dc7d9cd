-- Puts up to a hundred jobs of one type at the tails of their queues, in order. Everything is read
-- before the first write, so they get in together or, in a full store, not at all.
-- KEYS: void ready held waiting
-- ARGV: queues jobs counters {queue_id job_id payload interval requeue_limit max_length}
-- Returns: {status (queued, duplicate, conflict, full), length before it (`full:MS` where the queue's
--   rate has made room in MS milliseconds)}
--@include status clock record queue rate queues check_unread find schedule bucket count count_many put save_put waiting wake
local ids, members, out = {}, {}, {}
for i = 4, #ARGV, 6 do
  local at = #ids + 1
  ids[at], members[at] = ARGV[i], ARGV[i] .. '/' .. ARGV[i + 1]
end
if #ids == 0 then
  return out
end
local k = {ready = KEYS[2], jobs = ARGV[2], counters = ARGV[3]}
local held = redis.call('HMGET', KEYS[3], unpack(members))
local list, queues = load_queues(ARGV[1], ids)
check_unread(list)
local fresh, added = {}, 0
for at, member in ipairs(members) do
  local i, q = 6 * at - 2, queues[ids[at]]
  local status, length, record = put(k.ready, k.jobs .. q.id, q, held[at] or fresh[member],
    ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3]), ARGV[i + 4], tonumber(ARGV[i + 5]))
  out[2 * at - 1], out[2 * at] = status, length
  if record then
    fresh[member], added = record, added + 1
  end
end
if added > 0 then
  wake(KEYS[4], save_put(k, list, added))
end
return out
