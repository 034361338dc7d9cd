-- Lease numbers of a type: they only rise. The counter starts from the clock (µs) and is kept for
-- a second of it; no store makes a million leases a second, so the next start is above all
-- earlier numbers, also those that a promoted replica has never heard of.
local SERIAL_TTL = 1000

-- The first of `count` numbers.
local function next_serial(serial, count)
  local first = redis.call('INCRBY', serial, count) - count + 1
  if first == 1 then
    first = now_us
    set_for(serial, string.format('%.0f', first + count - 1), SERIAL_TTL)
  end
  return first
end
