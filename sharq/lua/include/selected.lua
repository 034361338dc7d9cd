-- Whether a filter selects a dead letter: '' selects all. `error`: how the words of such errors begin, up to the
-- quotation mark behind their type.
local REASON, BEFORE_ERROR = '^(%S+)', '^' .. string.rep('%S+ ', 12) .. '()'

local function is_selected(filter, member, about)
  if filter.queue_id ~= '' and string.match(member, '^[^/]+') ~= filter.queue_id then
    return false
  elseif filter.reason ~= '' and string.match(about, REASON) ~= filter.reason then
    return false
  elseif filter.error == '' then
    return true
  end
  local from = string.match(about, BEFORE_ERROR)
  return string.sub(about, from, from + #filter.error - 1) == filter.error
end

-- The score before which a death is before the time `before` (ms; '' is none).
local function death_before(before)
  return before == '' and '+inf' or string.format('(%.0f', before * 1000)
end
