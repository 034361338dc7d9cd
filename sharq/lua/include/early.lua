-- Counts jobs that have gone before their rates allowed it, by their queues, and all of them without a name. None ever
-- should: the judge is apart from the rules that choose a queue.
-- k: counters early
local EARLY_TTL = 86400000

local function count_early(k)
  local key = k.counters .. 'early'
  redis.call('HINCRBY', key, '', #k.early)
  for _, queue_id in ipairs(k.early) do
    redis.call('HINCRBY', key, queue_id, 1)
  end
  expire(key, EARLY_TTL)
end
