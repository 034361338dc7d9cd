-- Leases a job, the short way: that of the schedule's first queue, if it may go and was never
-- delivered, and none was given back, delayed or cancelled. Returns the answer, with the time (ms) of the
-- schedule's next job (`inf`: none) if it has no job; nil if `take_jobs` has to do it: nothing has
-- changed. Returns last whether only `take_limited` can.
-- k: ready leases held serial limit queues jobs counters till
local function take_plain(k, lease_ms, request_id)
  local scheduled = redis.call('ZRANGE', k.ready, 0, 0, 'WITHSCORES')
  local queue_id, at = scheduled[1], tonumber(scheduled[2] or 'inf')
  if at > (k.till or now) then
    -- A time may have decimals, and a type with limits has another schedule.
    local limited = not queue_id and redis.call('EXISTS', k.limit) == 1
    local other = limited or (queue_id and not k.till and at * 1000 <= now_us)
    return not other and {0, 0, -1} or nil, at, limited
  end
  local key = k.queues .. queue_id
  -- There may be none, or a key of another kind: `take_jobs` handles this.
  local text = redis.pcall('GET', key)
  local interval, tat, head, next, leased, rest, job_id, record = string.match(
    type(text) == 'string' and text or '', '^(%d+):(%d+):(%d+):(%d+):(%d+)([%d:]*) (%S*) ?(.*)$')
  if head == next or tonumber(tat) > now
    or (rest ~= '' and not string.find(rest, '^:0:0:%d+:%d:%d+$')) then
    return nil, nil, not head and string.byte(queue_id) == 61
  end

  local waiting, jobs = next - head - 1, k.jobs .. queue_id
  local in_state = job_id ~= ''
  if not in_state then
    job_id = redis.pcall('HGET', jobs, ':' .. head)
    record = type(job_id) == 'string' and redis.call('HGET', jobs, job_id)
    if not record then
      return nil
    end
  end
  local _, left, attempt, payload, cost = unpack_waiting(record)
  if cost ~= '' then
    return nil
  end
  -- Begins with a removal, so that it works in a full store.
  if not in_state and waiting > 0 then
    redis.call('HDEL', jobs, job_id, ':' .. head)
  elseif not in_state then
    redis.call('UNLINK', jobs)
  end
  if in_state or waiting == 0 then
    redis.call('ZREM', k.ready, queue_id)
  end
  local turn = now + interval
  if tonumber(tat) > now then
    k.early = {queue_id}
  end
  if waiting > 0 then
    redis.call('ZADD', k.ready, turn, queue_id)
  end
  redis.call('SET', key,
    string.format('%s:%d:%d:%s:%d%s ', interval, turn, head + 1, next, leased + 1, rest))

  local n, member = string.format('%d', next_serial(k.serial, 1)), queue_id .. '/' .. job_id
  redis.call('HSET', k.held, member, n .. ':' .. request_id .. ':' .. record)
  redis.call('ZADD', k.leases, now + lease_ms, member)
  local bucket, spread = count_type(k, 'd', 1)
  count_queue(bucket, spread, queue_id, 1)
  --@audit 'dispatch', member, 'n', n, 'place', (unpack_waiting(record)), 'left', left,
  --@ 'attempt', attempt + 1, 'ends', now + lease_ms, 'request', request_id
  return {0, 0, now - at, queue_id, job_id, n, left, attempt + 1, waiting, payload, tonumber(interval)}
end
