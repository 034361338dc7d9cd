-- Counts leases of a level. Returns whether its concurrency does not block it any longer.
local function add_leases(level, change)
  local full = level.concurrency and level.leased >= level.concurrency
  level.leased = math.max(0, level.leased + change)
  if full and level.leased < level.concurrency then
    level.free = now
    return true
  end
  return false
end

-- The same for a queue, its group and its type; k.freed: whether one allows again. The type counts its
-- leases while it has a concurrency.
local function count_leases(k, q, change)
  local freed = add_leases(q, change)
  if q.home then
    touch(k, q.home)
    freed = add_leases(k.groups[q.home], change) or freed
  end
  if k.type and k.type.concurrency then
    freed = add_leases(k.type, change) or freed
    k.type.changed = true
  end
  k.freed = k.freed or freed
end
