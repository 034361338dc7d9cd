-- A layout that is not in use is closed: these keys have values of another kind, so that every script fails there
-- before it changes anything. `held` tells the generation of the change.
-- k: ready leases held waiting limit dead sample moving
local function closed_keys(k)
  return {
    k.ready, k.leases, k.held, k.waiting, groups_key(k.limit), k.dead, order_key(k.dead), k.moving,
  }, {k.limit, k.sample}
end

-- The generation that closed it; nil if it is open.
local function closed_by(k)
  local text = redis.pcall('GET', k.held)
  return type(text) == 'string' and tonumber(text) or nil
end
