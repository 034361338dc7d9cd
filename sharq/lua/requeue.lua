-- Takes back up to `batch` jobs whose leases have run out, and removes dead letters beyond their bounds. A type
-- that has limits, a pause or dead letters is not vacant.
-- KEYS: void ready leases held waiting limit dead
-- ARGV: queues jobs returned delayed counters marks retention interval_retention failing batch
-- Returns: jobs queued again, jobs discarded, more are due (1 or 0), µs until the next lease
--   runs out (-1: none is held), the type has no jobs (1 or 0), and no counters either (1 or 0),
--   a bulk of dead letters runs that no server advances (1 or 0)
--@include status clock record leased_record place delayed spend history backoff dead_keys letters bury trim bulk queue load_queue encode rate save level level_keys levels leases turns first_turn save_levels type_limits bucket count change_totals vacancy mark give_back damage waiting wake
local leases, batch = KEYS[3], tonumber(ARGV[10])
local queued, discarded = 0, 0
local k = {
  ready = KEYS[2], leases = leases, held = KEYS[4], limit = KEYS[6], dead = KEYS[7],
  queues = ARGV[1], jobs = ARGV[2], returned = ARGV[3], delayed = ARGV[4], counters = ARGV[5], marks = ARGV[6],
  retention = tonumber(ARGV[7]), interval_retention = tonumber(ARGV[8]), failing = ARGV[9],
}
open_levels(k, redis.call('GET', k.limit))

local function take_back(queue_id, job_id, record)
  local q = load_queue(k.queues .. queue_id, queue_id)
  local told = {how = 'expiry', delay = 0, worker = '', error = ''}
  return give_back(k, q, job_id, unpack_leased(record), told)
end

-- After how many ms a lease is checked again whose job cannot be given back.
local LOOK_AGAIN = 60000
local expired = redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, batch)
for _, member in ipairs(expired) do
  local queue_id, job_id = string.match(member, '^([^/]+)/(.+)$')
  local record = redis.call('HGET', k.held, member)
  if not record then
    redis.call('ZREM', leases, member)
  else
    local readable, status = pcall(take_back, queue_id, job_id, record)
    if not readable and is_damage(status) then
      tell_damage(k.queues .. queue_id, member .. ' stays leased')
      redis.call('ZREM', leases, member)
      redis.call('ZADD', leases, now + LOOK_AGAIN, member)
    elseif status == DEAD then
      discarded = discarded + 1
    else
      queued = queued + 1
    end
  end
end
local first = save_levels(k)
wake(KEYS[5], (queued > 0 or k.freed) and first or nil)
lift_type(k)

local next_expiry = redis.call('ZRANGE', leases, 0, 0, 'WITHSCORES')[2]
local wait = next_expiry and math.max(0, next_expiry * 1000 - now_us) or -1
local more, bulk, buried = #expired == batch, nil, false
if redis.call('EXISTS', order_key(k.dead), bulk_key(k.dead)) > 0 then
  more = trim(k) or more
  bulk, buried = load_bulk(k.dead), redis.call('EXISTS', order_key(k.dead)) == 1
end
local running = bulk and bulk.state == RUNNING
local idle, vacant = 0, 0
if not next_expiry and not running and redis.call('EXISTS', k.ready, k.line) == 0 then
  idle, vacant = 1, not buried and is_vacant(k.limit, k) and 1 or 0
else
  begin_minute(k)
end
return {
  queued, discarded, more and 1 or 0, wait, idle, vacant, running and is_unclaimed(bulk) and 1 or 0,
}
