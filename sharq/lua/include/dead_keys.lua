-- The keys below that of a type's dead letters, `dead`: as those of limits, they are made here only.

-- The dead letters by their death (µs).
local function order_key(dead)
  return dead .. ':order'
end

-- What is kept of each, and its payload.
local function about_key(dead)
  return dead .. ':about'
end

local function payloads_key(dead)
  return dead .. ':jobs'
end

-- How many each queue has, and its limits at the last death: `count interval burst slots group`.
local function limits_key(dead)
  return dead .. ':limits'
end

-- The retry or the deletion of many.
local function bulk_key(dead)
  return dead .. ':bulk'
end
