-- Queues of a shard without jobs that still have a state, such as a rate: those among about `count` keys of the node.
-- KEYS: void
-- ARGV: queues cursor count
-- Returns: cursor of the next ones (0: there are none), queues, ms until the last of them is gone (-1: nobody can tell)
local beginning = string.gsub(ARGV[1], '[%*%?%[%]\\]', '\\%0')
local page = redis.call('SCAN', ARGV[2], 'MATCH', beginning .. '*', 'COUNT', ARGV[3])
local longest = 0
for _, key in ipairs(page[2]) do
  local left = redis.call('PTTL', key)
  if left == -1 or longest == -1 then
    longest = -1
  else
    longest = math.max(longest, left)
  end
end
return {page[1], #page[2], longest}
