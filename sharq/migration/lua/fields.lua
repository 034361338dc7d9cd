-- A page of the names of a hash's fields, without their values.
-- KEYS: hash
-- ARGV: cursor count
-- Returns: cursor (0: the last page), names
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local names = {}
for i = 1, #page[2], 2 do
  names[#names + 1] = page[2][i]
end
return {page[1], names}
