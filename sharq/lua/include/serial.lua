-- Lease numbers of a type: they only rise. The counter starts from the clock (µs) and lives for
-- ten minutes of it; no store hands out a million leases a second, so that the next start is
-- above every number of the last life.
local SERIAL_TTL = 600000

local function next_serial(serial)
  local n = redis.call('INCR', serial)
  if n == 1 then
    n = now_us
    redis.call('SET', serial, string.format('%.0f', n))
    expire(serial, SERIAL_TTL)
  end
  return string.format('%.0f', n)
end
