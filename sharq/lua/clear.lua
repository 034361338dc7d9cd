-- Removes the waiting and the delayed jobs of a queue; with `purge` its leases end too and an
-- interval of the API is dropped. The rate state stays. The store frees a queue of any length in
-- the background; a purge searches the leases of the type until it has found all.
-- KEYS: void ready leases held queue jobs returned delayed
-- ARGV: interval_retention queue_id purge
-- Returns: waiting jobs removed, leases ended
--@include clock queue rate save
local queue_id, purge = ARGV[2], ARGV[3] == '1'
local q = load_queue(KEYS[5])
local removed, leased, idle = q.waiting, q.leased, q.waiting + q.leased == 0
if not q.interval or (idle and not purge) then
  return {0, 0}
end
if idle then
  begin_anew(q)
end
redis.call('ZREM', KEYS[2], queue_id)
redis.call('UNLINK', KEYS[5], KEYS[6], KEYS[7], KEYS[8])
q.first, q.head, q.cleared = '', q.next, q.next
q.back, q.late, q.cancelled, q.waiting = 0, 0, 0, 0

-- Ends the leases of the queue among `members`; returns their number.
local function end_leases(members)
  local own, beginning = {}, queue_id .. '/'
  for _, member in ipairs(members) do
    if string.sub(member, 1, #beginning) == beginning then
      own[#own + 1] = member
    end
  end
  if #own > 0 then
    redis.call('ZREM', KEYS[3], unpack(own))
    redis.call('HDEL', KEYS[4], unpack(own))
  end
  return #own
end

if purge then
  local AT_ONCE, from = 1000, 0
  while q.leased > 0 do
    local members = redis.call('ZRANGE', KEYS[3], from, from + AT_ONCE - 1)
    local ended = end_leases(members)
    q.leased, from = #members > 0 and q.leased - ended or 0, from + #members - ended
  end
  q.api = false
end
save_queue(q, tonumber(ARGV[1]))
--@audit 'clear', queue_id, 'removed', removed, 'purge', purge, 'ended', leased - q.leased
return {removed, purge and leased or 0}
