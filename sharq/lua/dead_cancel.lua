-- Cancels the bulk of a type's dead letters that runs: what it has moved stays moved.
-- KEYS: void dead
-- ARGV:
-- Returns: one ran (1 or 0)
--@include clock dead_keys bulk open
check_open(KEYS[2])
local bulk = load_bulk(KEYS[2])
if not bulk or bulk.state ~= RUNNING then
  return 0
end
end_bulk(KEYS[2], CANCELLED)
return 1
