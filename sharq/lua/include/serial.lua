-- Lease numbers of a type: they only rise. A number is the time (µs) at which it was given, or one above the last.
-- So a promoted replica gives none that it has not heard of, nor one that a former primary gives at the same
-- time, which does not know yet that it is one no more. The last number is kept in case the clock steps back.
local SERIAL_TTL = 1000

-- The first of `count` numbers.
local function next_serial(serial, count)
  local first = math.max(now_us, (redis.call('GET', serial) or 0) + 1)
  set_for(serial, string.format('%.0f', first + count - 1), SERIAL_TTL)
  return first
end
