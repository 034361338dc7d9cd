-- What is to be done to all shards of a type, until it is: a pause for `ms` ('': until it is resumed), or a resume
-- ('-'), under the next number (0). With another `number` that is done. An empty `set_by` only looks. The number stays,
-- so that the next one is higher: the clock may be moved back, and shards ignore what is lower than their last.
-- KEYS: void paused
-- ARGV: number ms reason set_by
-- Returns: number of what is to be done (0: nothing), ms (those that are left, or as above), reason, set_by
--@include clock pause_kept
local key, number, ms = KEYS[2], ARGV[1], ARGV[2]
local text = redis.call('GET', key) or ''
local last = tonumber(string.match(text, '^%d+') or 0)
local is, till, by, why = string.match(text, '^(%d+) (%S+) (%S+) (.*)$')
if ARGV[4] ~= '' and number == '0' then
  is = string.format('%.0f', math.max(now_us, last + 1))
  till, by, why = (ms == '' or ms == '-') and ms .. '!' or string.format('%.0f', now + ms), ARGV[4], ARGV[3]
  redis.call('SET', key, table.concat({is, till, by, why}, ' '))
elseif is and is == number then
  set_for(key, is, PAUSE_KEPT)
  is = nil
end
if not is then
  return {0, '', '', ''}
end
local timed = tonumber(till)
return {tonumber(is), timed and string.format('%.0f', math.max(1, timed - now)) or string.sub(till, 1, -2), why, by}
