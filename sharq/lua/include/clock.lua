-- The store's clock, and expiry by it. `now` is in whole milliseconds, `now_us` in microseconds.
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = math.floor(now_us / 1000)

local function expire(key, ms)
  redis.call('PEXPIRE', key, ms)
end

local function set_for(key, value, ms)
  redis.call('SET', key, value, 'PX', ms)
end
