-- A place in the order of a queue's jobs.
local PRIORITY = 100000000000000

-- The sequence number in a place.
local function seq_of(place)
  return place % PRIORITY
end
