-- Takes up to a hundred jobs of one type over from another store, in order and once: those of the chunk with
-- `token`, or none if the chunk there is another one. Without a token each leaves a mark, by which it is known when it
-- comes again.
-- wait: ms until the queue's next job may go   where: `tail` or `head` of the queue, else the ms of its lease
-- KEYS: void ready leases held serial waiting limit moving
-- ARGV: queues jobs returned delayed counters token {queue_id job_id payload interval requeue_limit wait where}
-- Returns: {status (queued, duplicate, conflict, copied)}
--@include status clock record queue encode rate queues check_unread find bucket count count_many put more level change_rate level_keys levels leases turns first_turn save_levels place delayed gap place_apart put_limited change_totals save_put_limited serial arrive lease_arrived copied waiting wake
local k = {
  ready = KEYS[2], leases = KEYS[3], held = KEYS[4], serial = KEYS[5], limit = KEYS[7], queues = ARGV[1],
  jobs = ARGV[2], returned = ARGV[3], delayed = ARGV[4], counters = ARGV[5], arrived = {},
}
local token, ids, members, out = ARGV[6], {}, {}, {}
local chunk = redis.call('HMGET', KEYS[8], 'token', 'statuses')
if token ~= '' and (chunk[1] or '') ~= token then
  return out
elseif token ~= '' and chunk[2] then
  for status in string.gmatch(chunk[2], '%S+') do
    out[#out + 1] = status
  end
  return out
end
for i = 7, #ARGV, 7 do
  ids[#ids + 1], members[#members + 1] = ARGV[i], ARGV[i] .. '/' .. ARGV[i + 1]
end
if #ids == 0 then
  return out
end
local held = redis.call('HMGET', k.held, unpack(members))
local list, queues, type_text = load_queues(k.queues, ids, k.limit)
check_unread(list)
open_levels(k, type_text)
local fresh, added, marks = {}, 0, {}
for at, member in ipairs(members) do
  local i, q, record = 7 * at, queues[ids[at]], nil
  marks[at] = mark_of(KEYS[8], member, ARGV[i + 2])
  if is_copied(marks[at]) then
    out[at] = COPIED
  else
    out[at], record = arrive(k, q, held[at] or fresh[member], ARGV[i + 1], ARGV[i + 2],
      tonumber(ARGV[i + 3]), ARGV[i + 4], tonumber(ARGV[i + 5]), ARGV[i + 6])
  end
  if record then
    fresh[member], added = record, added + 1
  end
end
local first = added > 0 and save_put_limited(k, list, added) or nil
lease_arrived(k, list)
note_copied(marks, out, token == '')
if token ~= '' then
  redis.call('HSET', KEYS[8], 'statuses', table.concat(out, ' '))
end
wake(KEYS[6], #k.arrived < added and first or nil)
return out
