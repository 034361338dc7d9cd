-- Removes up to a hundred dead letters of one type, in order.
-- KEYS: void dead
-- ARGV: {queue_id job_id}
-- Returns: {status (success, not_found)}
--@include status clock dead_keys letters
local out = {}
for i = 1, #ARGV, 2 do
  local member = ARGV[i] .. '/' .. ARGV[i + 1]
  if remove_letter(KEYS[2], member) then
    out[#out + 1] = SUCCESS
    --@audit 'unburied', member, 'why', 'delete'
  else
    out[#out + 1] = NOT_FOUND
  end
end
return out
