-- Requeues that remain, in digits, since a limit of 64 bits does not fit a Lua number.

-- One less.
local function spend(left)
  if left == '-1' then
    return left
  end
  local high, low = string.sub(left, 1, -10), tonumber(string.sub(left, -9))
  if high == '' then
    return string.format('%d', low - 1)
  end
  if low == 0 then
    high, low = string.format('%.0f', high - 1), 1000000000
  end
  if high == '0' then
    high = ''
  end
  return high .. string.format('%09d', low - 1)
end

-- `more` that were spent are there again.
local function give_more(left, more)
  if left == '-1' then
    return left
  end
  local high, low = tonumber(string.sub(left, 1, -10)) or 0, tonumber(string.sub(left, -9)) + more
  high, low = high + math.floor(low / 1000000000), low % 1000000000
  return high == 0 and string.format('%d', low) or string.format('%.0f%09d', high, low)
end
