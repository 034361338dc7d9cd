-- A queue's state, in the hash that also holds its waiting jobs (sequence number -> job_id,
-- job_id -> record):
--   :i interval   :t theoretical arrival time (TAT) of GCRA   :s 1: the API set the interval, or 0
--   :h sequence number of the next first delivery   :n of the next job   :c below it: cleared
--   :b jobs given back   :l jobs delayed   :x end of the API interval's retention while idle
local function load_queue(key, job_id)
  local f = redis.call('HMGET', key, ':i', ':t', ':h', ':n', ':b', ':l', ':c', ':s', ':x',
    job_id or ':i')
  local q = {
    key = key, interval = tonumber(f[1]), tat = tonumber(f[2] or 0),
    head = tonumber(f[3] or 1), next = tonumber(f[4] or 1),
    back = tonumber(f[5] or 0), late = tonumber(f[6] or 0), cleared = tonumber(f[7] or 0),
    api = f[8] == '1', retained = tonumber(f[9] or 0), job = f[10],
  }
  q.waiting = q.next - q.head + q.back + q.late
  return q
end

-- Where no job is left: what has run out by now is gone, and the queue begins anew.
local function begin_anew(q)
  if q.tat <= now then
    q.tat = 0
  end
  if q.api and q.retained <= now then
    q.api = false
  end
  if q.tat == 0 and not q.api then
    q.interval = nil
  end
end

-- A change of interval moves the dispatch that is already scheduled: TAT - old + new.
local function change_interval(q, interval)
  if q.tat > 0 then
    q.tat = q.tat - q.interval + interval
  end
  q.interval = interval
end

-- Where neither a waiting nor a leased job is left, the state lives on for what remains of the
-- interval, and an interval of the API for its retention.
local function settle_if_idle(key, active, retention)
  if redis.call('EXISTS', active) == 1 then
    return
  end
  local q = load_queue(key)
  if q.waiting > 0 then
    return
  end
  local ends = q.tat
  if q.api then
    redis.call('HSET', key, ':x', now + retention)
    ends = math.max(ends, now + retention)
  end
  if ends > now then
    expire(key, ends - now)
  else
    redis.call('DEL', key)
  end
end
