-- Counts what changes the waiting jobs besides enqueues and dequeues.
local function add_waiting(k, change)
  if change ~= 0 then
    count_type(k, 'c', change)
  end
end

local function add_delayed(k, change)
  if change ~= 0 then
    count_type(k, 'k', change)
  end
end
