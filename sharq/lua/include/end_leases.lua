-- Writes queues of which `ended[i]` leases have ended, and what these allow now.
-- k: retention, and what `open_levels` adds
local function end_leases(k, list, ended, waiting)
  for at, q in ipairs(list) do
    count_leases(k, q, -ended[at])
    save_queue(q, k.retention)
    take_turn_after_lease(k, q)
  end
  local first = save_levels(k)
  wake(waiting, k.freed and first or nil)
end
