-- Removes what is left of queues without jobs: their intervals, unless a job of the type is leased, and the schedule's
-- entries.
-- KEYS: intervals ready active {list}
-- ARGV: queue_type {queue_id}
-- Returns: how many queues had nothing but such an entry
local idle, ghosts = redis.call('EXISTS', KEYS[3]) == 0, 0
for i = 2, #ARGV do
  if redis.call('EXISTS', KEYS[2 + i]) == 0 then
    if redis.call('TYPE', KEYS[2]).ok == 'zset' then
      ghosts = ghosts + redis.call('ZREM', KEYS[2], ARGV[i])
    end
    if idle then
      redis.call('HDEL', KEYS[1], ARGV[1] .. ':' .. ARGV[i])
    end
  end
end
return ghosts
