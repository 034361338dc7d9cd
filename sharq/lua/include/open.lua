-- Fails where a shard is closed, see `closing`: for scripts that would not by themselves. `hash`: held or dead.
local function check_open(hash)
  redis.call('HEXISTS', hash, '')
end
