-- Writes queues of which leases have ended, `ended` of each, and what these allow now.
-- k: retention, and what `open_levels` adds
local function end_leases(k, list, waiting)
  for _, q in ipairs(list) do
    count_leases(k, q, -q.ended)
    save_queue(q, k.retention)
    take_turn_after_lease(k, q)
  end
  local first = save_levels(k)
  wake(waiting, k.freed and first or nil)
end
