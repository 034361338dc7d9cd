-- Of several servers that watch a type one takes the sample, for all of them, as long as it comes back within a few
-- seconds. Its sample is empty at first.
-- KEYS: void sample
-- ARGV: server_id sample
-- Returns: this server takes the sample (1 or 0), the sample of the other one
--@include clock
local HELD_FOR = 5000
local server, sample = string.match(redis.call('GET', KEYS[2]) or '', '^(%S+) (.*)$')
if server and server ~= ARGV[1] then
  return {0, sample}
end
set_for(KEYS[2], ARGV[1] .. ' ' .. ARGV[2], HELD_FOR)
return {1, ''}
