-- One page of the registry of types.
-- KEYS: types
-- ARGV: cursor count
-- Returns: next cursor ("0": the last page), {queue_type, ms since its registration}
--@include clock
local page = redis.call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local out = {page[1]}
for i = 1, #page[2], 2 do
  out[#out + 1] = page[2][i]
  out[#out + 1] = now - page[2][i + 1]
end
return out
