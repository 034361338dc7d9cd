-- Counts the waiting jobs of one page of queues, see `page_of_queues`.
-- KEYS: void ready leases limit
-- ARGV: queues counters part group cursor count
-- Returns: part, group, cursor (of the next page; an empty part after the last one), how many jobs wait by the
--   counters, how many are delayed by them, a word that changes whenever something is counted, {queue_id, waiting
--   jobs, delayed jobs}
--@include clock queue level_keys queue_pages bucket count
local k = {ready = KEYS[2], leases = KEYS[3], limit = KEYS[4]}
local members, part, group, cursor = page_of_queues(k, ARGV[3], ARGV[4], ARGV[5], ARGV[6], '')
local waiting, delayed, newest, sums = totals_of(ARGV[2])
local word = (newest or '') .. ' ' .. table.concat(sums, ' ')
local out = {part == 'leased' and '' or part, group, cursor, waiting, delayed, word}
for i = 1, #members, 2 do
  if string.byte(members[i]) ~= 61 then
    local key, last = ARGV[1] .. members[i], #out
    local q = decode_queue(key, redis.call('MGET', key)[1])
    out[last + 1], out[last + 2], out[last + 3] = members[i], q.waiting, q.late
  end
end
return out
