-- Pauses a queue, a group or the type for `ms` ('': until it is resumed), or resumes it ('-').
-- Of pauses with a `number`, which are for all shards of a type, the later one stays.
-- KEYS: void ready leases waiting limit paused
-- ARGV: queues delayed interval_retention kind name ms reason set_by number
-- Returns: status (success)
--@include status clock queue load_queue encode rate save more level level_keys levels leases turns first_turn save_levels type_limits kept set_pause pause_kept waiting wake
local k = {
  ready = KEYS[2], leases = KEYS[3], limit = KEYS[5], queues = ARGV[1], delayed = ARGV[2],
  interval_retention = tonumber(ARGV[3]),
}
local kind, name, ms = ARGV[4], ARGV[5], ARGV[6]
local till = nil
if ms ~= '-' then
  till = ms == '' and math.huge or now + ms
end
open_levels(k, redis.call('GET', k.limit))
if ARGV[9] ~= '' then
  local last = redis.call('GET', KEYS[6])
  if last and tonumber(last) > tonumber(ARGV[9]) then
    return SUCCESS
  end
  set_for(KEYS[6], ARGV[9], PAUSE_KEPT)
end
if kind == 'queue' then
  pause_queue(k, load_queue(k.queues .. name, name), till, ARGV[8], ARGV[7])
elseif kind == 'group' then
  pause_group(k, name, till, ARGV[8], ARGV[7])
elseif ARGV[8] ~= 'worker' or not k.type or (k.type.paused or 0) < till then
  pause_type(k, till, ARGV[8], ARGV[7])
end
wake(KEYS[4], save_levels(k))
return SUCCESS
