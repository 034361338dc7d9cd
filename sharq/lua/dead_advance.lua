-- Makes one step of a bulk, if it runs and no other server advances it. No other one does for the next `hold` ms.
-- KEYS: void ready held waiting limit dead
-- ARGV: queues jobs counters returned delayed owner hold
-- Returns: there is more to do for this server (1 or 0)
--@include status clock record queue encode rate queues find bucket count count_many put more level change_rate level_keys levels leases turns first_turn save_levels place delayed gap place_apart put_limited change_totals save_put_limited dead_keys letters selected bulk choose_letters retry_terms retry_letters waiting wake open
-- Dead letters that a step moves, at most.
local MOST = 100
local k = {
  ready = KEYS[2], held = KEYS[3], limit = KEYS[5], dead = KEYS[6], queues = ARGV[1], jobs = ARGV[2],
  counters = ARGV[3], returned = ARGV[4], delayed = ARGV[5],
}
check_open(k.dead)
local bulk = load_bulk(k.dead)
if not bulk or bulk.state ~= RUNNING or (bulk.owner ~= ARGV[6] and tonumber(bulk.till) > now) then
  return 0
end
local wanted = bulk.limit == '' and MOST or math.min(MOST, bulk.limit - bulk.moved)
local members, deaths, at = choose_letters(k.dead, bulk, wanted)
local moved, conflicts, first = 0, 0, nil
if bulk.kind == 'retry' and #members > 0 then
  local statuses
  statuses, first = retry_letters(k, members)
  for _, status in ipairs(statuses) do
    moved, conflicts = moved + (status == SUCCESS and 1 or 0), conflicts + (status == CONFLICT and 1 or 0)
  end
  at = #statuses < #members and deaths[#statuses] or at
else
  for _, member in ipairs(members) do
    remove_letter(k.dead, member)
    --@audit 'unburied', member, 'why', 'delete'
  end
  moved = #members
end
moved = moved + bulk.moved
-- Removes before it adds, so that it works in a full store.
redis.call('HDEL', bulk_key(k.dead), 'owner')
redis.call('HSET', bulk_key(k.dead), 'moved', moved, 'conflicts', conflicts + bulk.conflicts,
  'at', at or bulk.at, 'owner', ARGV[6], 'till', string.format('%.0f', now + ARGV[7]))
local over = not at or tostring(moved) == bulk.limit
if over then
  end_bulk(k.dead, DONE)
end
wake(KEYS[4], first)
return over and 0 or 1
