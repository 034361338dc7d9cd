-- Sets limits of a queue, a group or the type by the API: '' leaves a value, '-' gives it back. They need not
-- exist.
-- KEYS: void ready leases waiting limit
-- ARGV: queues delayed interval_retention kind name new_interval new_burst new_concurrency new_group
--   reason
-- Returns: status (success)
--@include status clock queue load_queue encode rate save more level change_rate level_keys levels leases turns first_turn save_levels type_limits kept change_limits set_limits waiting wake
local k = {
  ready = KEYS[2], leases = KEYS[3], limit = KEYS[5], queues = ARGV[1], delayed = ARGV[2],
  interval_retention = tonumber(ARGV[3]),
}
local kind, name = ARGV[4], ARGV[5]
local values = {
  interval = ARGV[6], burst = ARGV[7], slots = ARGV[8], group = ARGV[9], about = ARGV[10],
}
open_levels(k, redis.call('GET', k.limit))
if kind == 'queue' then
  limit_queue(k, name, values)
elseif kind == 'group' then
  touch(k, name)
  change_level(k.groups[name], values)
  keep(k, '=' .. name, k.groups[name])
  --@audit 'limits', '=' .. name, 'interval', k.groups[name].interval, 'burst',
  --@ k.groups[name].burst or 1, 'concurrency', k.groups[name].concurrency or 0
else
  limit_type(k)
  local counted = k.type.concurrency
  change_level(k.type, values)
  if k.type.concurrency and not counted then
    k.type.leased = redis.call('ZCARD', k.leases)
  end
  k.type.changed = true
  keep(k, '=', k.type)
  --@audit 'limits', '=', 'interval', k.type.interval, 'burst', k.type.burst or 1, 'concurrency',
  --@ k.type.concurrency or 0
  lift_type(k)
end
wake(KEYS[4], save_levels(k))
return SUCCESS
