-- Puts a job at the tail of a queue, the short way: where its state, `text`, has no second group, no
-- waiting job has the same id, and nothing but the tail changes. Returns the length before it and,
-- where that is 0, the time (ms) of the queue's turn; nil where it is for `put`: nothing has changed.
-- k: ready queue jobs counters
local function put_plain(k, text, queue_id, job_id, payload, interval, left, max_length)
  local before, tat, head, next, leased, first =
    string.match(text or '0:0:1:1:0 ', '^(%d+):(%d+):(%d+):(%d+):(%d+) (.*)$')
  local length = before and next - head
  if not length or (max_length and length >= max_length) then
    return nil
  elseif length == 0 and leased == '0' and tonumber(tat) <= now then
    tat = 0
  elseif before ~= interval then
    if length > 0 then
      return nil
    end
    tat = tonumber(tat) > 0 and tat - before + interval or 0
  end

  if length > 0 then
    local own = job_id .. ' '
    if string.sub(first, 1, #own) == own
      or (length > 1 or first == '') and redis.call('HEXISTS', k.jobs, job_id) == 1 then
      return nil
    end
  end

  local record = pack_waiting(next, left, 0, payload)
  if length == 0 and #record <= SMALL then
    first = job_id .. ' ' .. record
  else
    redis.call('HSET', k.jobs, ':' .. next, job_id, job_id, record)
  end
  redis.call('SET', k.queue, string.format('%s:%d:%s:%d:%s ', interval, tat, head, next + 1, leased)
    .. first)
  local turn
  if length == 0 then
    turn = math.max(tat, now)
    redis.call('ZADD', k.ready, turn, queue_id)
  end
  local bucket, spread = count_type(k.counters, 'e', 1)
  count_queue(bucket, spread, queue_id, 1)
  --@audit 'enqueue', queue_id .. '/' .. job_id, 'place', next, 'left', left, 'asked', interval,
  --@ 'interval', interval, 'sha', redis.sha1hex(payload)
  return length, turn
end
