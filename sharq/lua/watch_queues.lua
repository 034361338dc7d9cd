-- Those queues of a type that stand first in its schedule (of a group that stands there, its first one), and others by
-- their names: as they are now. A queue without waiting jobs is left out.
-- KEYS: void ready limit
-- ARGV: queues delayed first {queue_id}
-- Returns: how many of the schedule follow, {queue_id, waiting jobs, leased jobs, interval (empty: none), ms until all
--   limits allow its next job (negative: since then, empty: nobody can tell), group (empty: none), what holds it back,
--   ms until its last job goes by the rates (empty: nobody can tell)}
--@include clock queue level level_keys levels held_by outlook
local k = {ready = KEYS[2], limit = KEYS[3], queues = ARGV[1], delayed = ARGV[2]}
open_levels(k, redis.call('GET', k.limit))
local out, seen = {0}, {}

local function text_of(ms, form)
  return ms < math.huge and string.format(form or '%d', ms) or ''
end

local function show(queue_id)
  local q = not seen[queue_id] and decode_queue(k.queues .. queue_id, redis.call('MGET', k.queues .. queue_id)[1])
  seen[queue_id] = true
  if not q or not q.interval or q.waiting == 0 then
    return false
  end
  local levels = levels_of(k, q)
  local turn = tonumber(redis.call('ZSCORE', schedule_of(k, q.home), queue_id) or 'inf')
  local last = #out
  out[last + 1], out[last + 2], out[last + 3] = queue_id, q.waiting, q.leased
  out[last + 4] = text_of(q.interval > 0 and q.interval or math.huge, '%.3f')
  out[last + 5] = text_of(next_goes(levels, turn) - now)
  out[last + 6] = q.home or ''
  out[last + 7] = holder_of(k, q, queue_id)
  out[last + 8] = text_of(math.max(0, last_goes(levels, q.waiting) - EXACT))
  return true
end

for _, member in ipairs(redis.call('ZRANGE', k.line, 0, ARGV[3] - 1)) do
  local queue_id = member
  if string.byte(member) == 61 then
    queue_id = redis.call('ZRANGE', schedule_of(k, string.sub(member, 2)), 0, 0)[1]
  end
  if queue_id and show(queue_id) then
    out[1] = out[1] + 1
  end
end
for i = 4, #ARGV do
  show(ARGV[i])
end
return out
