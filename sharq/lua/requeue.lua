-- Takes back up to `batch` jobs whose leases have run out.
-- KEYS: void ready leases held waiting
-- ARGV: queues jobs returned delayed counters marks retention interval_retention batch
-- Returns: jobs queued again, jobs discarded, more are due (1 or 0), µs until the next lease
--   runs out (-1: none is held), the type has no jobs (1 or 0), and no counters either (1 or 0)
--@include status clock record leased_record delayed spend queue save schedule bucket count mark give_back damage waiting wake
local ready, leases, held, batch = KEYS[2], KEYS[3], KEYS[4], tonumber(ARGV[9])
local queued, discarded = 0, 0
-- After how many ms a lease is checked again whose job cannot be given back.
local LOOK_AGAIN = 60000
local earliest
local expired = redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, batch)
for _, member in ipairs(expired) do
  local queue_id, job_id = string.match(member, '^([^/]+)/(.+)$')
  local k = {
    ready = ready, leases = leases, held = held, queue = ARGV[1] .. queue_id,
    jobs = ARGV[2] .. queue_id, returned = ARGV[3] .. queue_id, delayed = ARGV[4] .. queue_id, marks = ARGV[6],
    retention = tonumber(ARGV[7]), interval_retention = tonumber(ARGV[8]),
  }
  local record = redis.call('HGET', held, member)
  if not record then
    redis.call('ZREM', leases, member)
  else
    local readable, status, at = pcall(give_back, k, queue_id, job_id, unpack_leased(record), true, 0)
    if not readable and is_damage(status) then
      tell_damage(k.queue, member .. ' stays leased')
      redis.call('ZREM', leases, member)
      redis.call('ZADD', leases, now + LOOK_AGAIN, member)
    elseif status == DEAD then
      discarded = discarded + 1
    else
      queued = queued + 1
      earliest = math.min(at, earliest or at)
    end
  end
end
wake(KEYS[5], earliest)

local next_expiry = redis.call('ZRANGE', leases, 0, 0, 'WITHSCORES')[2]
local wait = next_expiry and math.max(0, next_expiry * 1000 - now_us) or -1
local idle, vacant = 0, 0
if not next_expiry and redis.call('EXISTS', ready) == 0 then
  idle, vacant = 1, 1
  for ago = 0, COUNTERS_TTL / 60000 do
    if redis.call('EXISTS', counter_bucket(ARGV[5], ago)) == 1 then
      vacant = 0
    end
  end
end
return {queued, discarded, #expired == batch and 1 or 0, wait, idle, vacant}
