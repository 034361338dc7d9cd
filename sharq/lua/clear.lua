-- Removes the waiting and the delayed jobs of a queue; with `purge` its leases end too and the limits
-- of the API are dropped. The rate state and a pause stay. The store frees a queue of any length in
-- the background; a purge searches the leases of the type until it has found all.
-- KEYS: void ready leases held queue jobs returned delayed waiting limit
-- ARGV: counters interval_retention queue_id purge
-- Returns: waiting jobs removed, leases ended
--@include clock queue load_queue encode rate save level level_keys levels leases turns first_turn save_levels bucket count change_totals waiting wake
local queue_id, purge = ARGV[3], ARGV[4] == '1'
local type_text = redis.call('GET', KEYS[10])
local q = load_queue(KEYS[5], queue_id)
local removed, leased, idle = q.waiting, q.leased, q.waiting + q.leased == 0
if not q.interval or (idle and not purge) then
  return {0, 0}
end
if idle then
  begin_anew(q)
end
local k = {ready = KEYS[2], leases = KEYS[3], held = KEYS[4], limit = KEYS[10], counters = ARGV[1]}
open_levels(k, type_text)
leave(k, q)
redis.call('UNLINK', KEYS[5], KEYS[6], KEYS[7], KEYS[8])
add_delayed(k, -q.late)
add_waiting(k, -q.waiting)
q.first, q.head, q.cleared = '', q.next, q.next
q.back, q.late, q.apart, q.waiting = 0, 0, 0, 0

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
  local AT_ONCE, from, left = 1000, 0, leased
  while left > 0 do
    local members = redis.call('ZRANGE', KEYS[3], from, from + AT_ONCE - 1)
    local ended = end_leases(members)
    left, from = #members > 0 and left - ended or 0, from + #members - ended
  end
  if leased > 0 then
    count_type(k, 'o', leased)
  end
  count_leases(k, q, -leased)
  give_limits_back(q)
  move_home(k, q)
end
save_queue(q, tonumber(ARGV[2]))
--@audit 'clear', queue_id, 'removed', removed, 'purge', purge, 'ended', leased - q.leased,
--@ 'burst', q.burst or 1, 'concurrency', q.concurrency or 0, 'group', q.group or ''
local first = save_levels(k)
wake(KEYS[9], k.freed and first or nil)
return {removed, purge and leased or 0}
