-- Reads jobs that wait, in the order of their lists, from a place in each on: until there are `count` of them, or
-- `room` bytes of payloads.
-- KEYS: payloads intervals ready {list requeues last}
-- ARGV: queue_type count room {queue_id from}
-- Returns: time (ms), of each queue that it came to {interval, last dispatch, score, length, {job_id, payload, requeues}}
local left, room, time = tonumber(ARGV[2]), tonumber(ARGV[3]), redis.call('TIME')
local out = {time[1] * 1000 + math.floor(time[2] / 1000)}

-- Some names of queues and types are those of other keys.
local function is_a(key, kind)
  return redis.call('TYPE', key).ok == kind
end

local function read_jobs(list, requeues, field, from)
  local jobs = {}
  for _, job_id in ipairs(redis.call('LRANGE', list, from, from + left - 1)) do
    if room <= 0 then
      break
    end
    local payload, last = redis.call('HGET', KEYS[1], field .. ':' .. job_id), #jobs
    jobs[last + 1], jobs[last + 2] = job_id, payload
    jobs[last + 3] = redis.call('HGET', requeues, job_id)
    left, room = left - 1, room - (payload and #payload or 0)
  end
  return jobs
end

local scheduled = is_a(KEYS[3], 'zset')
for i = 4, #ARGV, 2 do
  local at, field = 3 * i / 2 - 2, ARGV[1] .. ':' .. ARGV[i]
  local list, last = KEYS[at], is_a(KEYS[at + 2], 'string') and redis.call('GET', KEYS[at + 2])
  local queued = is_a(list, 'list')
  out[#out + 1] = {
    redis.call('HGET', KEYS[2], field), last, scheduled and redis.call('ZSCORE', KEYS[3], ARGV[i]),
    queued and redis.call('LLEN', list) or 0,
    queued and read_jobs(list, KEYS[at + 1], field, tonumber(ARGV[i + 1])) or {},
  }
  if left == 0 or room <= 0 then
    break
  end
end
return out
