-- The text of a queue's state.

-- What the plain form has no place for, and the beginning of the rest; nil if there is nothing.
local function encode_more(q)
  local m, paused = q.more, q.paused or 0
  local last = q.last and q.tat - q.last ~= q.interval and q.last or 0
  local units = q.interval == 0 and q.units or 0
  local whole = q.interval % 1 == 0 and q.tat % 1 == 0
  if m.burst + m.burst_api + m.slots + m.slots_api + paused + last == 0 and units < 2 and whole
    and m.group .. m.group_api .. m.about == '' then
    return nil
  end
  return string.format('~%d:%d:%d:%d:%.3f:%.3f:%d:%s:%s:%s:%s:%s|%.3f:%.3f', m.burst, m.burst_api,
    m.slots, m.slots_api, paused, last, units, m.group, m.group_api, m.about, m.by, m.why, q.interval,
    q.tat)
end

local function encode_queue(q)
  local more = q.more and encode_more(q)
  local text = more and more .. string.format(':%d:%d:%d', q.head, q.next, q.leased)
    or string.format('%d:%d:%d:%d:%d', q.interval, q.tat, q.head, q.next, q.leased)
  if q.api or q.back + q.late + q.cleared + q.apart > 0 or (q.more and q.retained > 0) then
    text = text .. string.format(':%d:%d:%d:%d:%d', q.back, q.late, q.cleared, q.api and 1 or 0,
      q.retained)
  end
  if q.apart > 0 then
    text = text .. string.format(':%d', q.apart)
  end
  return text .. ' ' .. q.first
end
