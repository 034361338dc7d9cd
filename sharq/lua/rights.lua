-- Finds out which of the commands that SharQ runs the store's user may not run. Redis before 7 can
-- only be asked by running them: in this form and order they change nothing.
-- KEYS: probe
-- ARGV: own_probe channel confirming
-- Returns: {command (empty: none of them), what it may not be run on (keys, own keys, channels, or
--   empty)}
local probe, own_probe, channel = KEYS[1], ARGV[1], ARGV[2]
local on_nothing = {'TIME', 'PING', 'EVAL 1 0', 'EVALSHA 1 0', 'SCAN 0', 'SCRIPT LOAD 1'}
local on_keys = {
  'MSET 1', 'LPUSH 1', 'RPUSH 1', 'DEL', 'UNLINK', 'EXISTS', 'GET', 'HDEL 1', 'HEXISTS 1', 'HGET 1',
  'HGETALL', 'HINCRBY 1 none', 'HLEN', 'HMGET 1', 'HSCAN 0', 'HSET 1 1 odd', 'HSTRLEN 1', 'INCRBY none', 'LINDEX 0',
  'LPOS 1', 'LRANGE 0 0', 'LTRIM 0 0', 'MGET', 'PERSIST', 'PEXPIRE 1', 'PTTL', 'RENAME same', 'RPOP', 'SET 1 xx',
  'ZADD xx 1 1', 'ZCARD', 'ZCOUNT 0 1', 'ZRANGE 0 0', 'ZRANGEBYLEX - +', 'ZRANGEBYSCORE 0 1', 'ZRANK 1', 'ZREM 1',
  'ZREMRANGEBYSCORE 1 0', 'ZREVRANGEBYSCORE 1 0', 'ZSCAN 0', 'ZSCORE 1', 'ZUNIONSTORE 1 same',
}
local on_own_keys = {'SET 1 xx', 'ZADD xx 1 1', 'ZREM 1', 'ZSCAN 0', 'ZSCORE 1'}
local on_channels = {'PUBLISH 1', 'SUBSCRIBE'}

local function is_denied(words)
  if redis.acl_check_cmd then
    local known, allowed = pcall(redis.acl_check_cmd, unpack(words))
    return known and not allowed
  end
  local reply = redis.pcall(unpack(words))
  local problem = type(reply) == 'table' and reply.err or ''
  return string.find(problem, "The user executing the script can't", 1, true) ~= nil
end

local denied = {}

local function try(commands, place, sample)
  local names = {}
  for _, command in ipairs(commands) do
    local words = {}
    for word in string.gmatch(command, '%S+') do
      words[#words + 1] = word == 'same' and sample or word
    end
    if sample then
      table.insert(words, 2, sample)
    end
    if is_denied(words) then
      names[#names + 1] = string.match(command, '^[%u ]*%u')
    end
  end
  if sample and #names == #commands then
    names = {''}
  end
  for _, name in ipairs(names) do
    denied[#denied + 1] = name
    denied[#denied + 1] = place
  end
end

try(on_nothing, '')
if string.find(channel, '*', 1, true) then
  try({'CLUSTER SLOTS', 'CLUSTER INFO'}, '')
end
if ARGV[3] then
  try({ARGV[3], 'INFO server'}, '')
end
try(on_keys, 'keys', probe)
try(on_own_keys, 'own keys', own_probe)
try(on_channels, 'channels', channel)
return denied
