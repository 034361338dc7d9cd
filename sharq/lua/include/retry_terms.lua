-- What a dead letter says of its new job: its interval, requeue limit and options, as `put_limited` takes them. A
-- queue with an interval keeps what it has, any other gets what it had at its last death: an older one may have
-- been under laxer limits.
-- k: dead
local OWN, LIMITS = '^%S+ %S+ %S+ %S+ (%S+) (%S+) (%S+) (%S+ %S+ %S+ %S+)', '(%S+) (%S+) (%S+) (%S+)$'

local function terms_of(k, q, about)
  local left, priority, cost, limits = string.match(about, OWN)
  if q.waiting + q.leased == 0 then
    begin_anew(q)
  end
  if has_interval(q) then
    return q.interval, left, string.format('::::%s:%s:0', cost, priority)
  end
  local interval, burst, slots, group =
    string.match(redis.call('HGET', limits_key(k.dead), q.id) or limits, LIMITS)
  return tonumber(interval), left, string.format(':%s:%s:%s:%s:%s:0', burst == '0' and '' or burst,
    slots == '0' and '' or slots, group == '-' and '' or group, cost, priority)
end
