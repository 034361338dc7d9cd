-- Reads up to `limit` queues that may go, those that have been ready longest first. Ends before the first group, or
-- queue that has more limits than its interval: `batch.limited`. `batch.all`: no other may go.
-- k: ready queues till
local function ready_queues(k, batch, limit)
  local ids = redis.call('ZRANGEBYSCORE', k.ready, '-inf', k.till or now_us / 1000, 'LIMIT', 0, limit)
  local plain = {}
  for at, q in ipairs(#ids > 0 and load_queues(k.queues, ids) or {}) do
    if q.more or (not q.interval and string.byte(q.id) == 61) then
      batch.limited = true
      break
    end
    plain[at] = q
  end
  batch.all = #ids < limit and not batch.limited
  return plain
end
