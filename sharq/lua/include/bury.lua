-- Makes a dead letter of a job whose lease has ended.
-- k: dead failing

-- The limits of a queue, as enqueues have set them; an interval that the API has set stands for theirs.
local function limits_of(q)
  local m, interval = q.more, string.format(q.interval % 1 == 0 and '%d' or '%.3f', q.interval)
  return string.format('%s %d %d %s', interval, m and m.burst or 0, m and m.slots or 0,
    m and m.group ~= '' and m.group or '-')
end

-- Its words, `-` for an empty one: `reason n attempts first limit priority cost interval burst slots group worker
-- error`.
local function pack_letter(q, job, reason, limits)
  local first, _, worker, problem = unpack_history(job.history)
  return table.concat({
    reason, job.n, string.format('%d', job.attempt), first or string.format('%d', now),
    give_more(job.left, job.attempt - 1), (seq_of(job.place) - job.place) / PRIORITY, job.cost, limits,
    worker ~= '' and worker or '-', problem ~= '' and problem or '-',
  }, ' ')
end

local function put_letter(k, q, job_id, job, reason)
  local dead, member, limits = k.dead, q.id .. '/' .. job_id, limits_of(q)
  local about, payload = pack_letter(q, job, reason, limits), job.payload
  local size = #member + #about + #payload
  drop_letter(dead, member, 'replaced')
  if size > tonumber(string.match(k.failing, '^%d+:(%d+)')) then
    error('it is larger than all may be')
  end
  local last = tonumber(redis.call('HGET', dead, 'last') or 0)
  local died = string.format('%.0f', math.max(now_us, last + 1))
  redis.call('ZADD', order_key(dead), died, member)
  redis.call('HSET', about_key(dead), member, about)
  redis.call('HSET', payloads_key(dead), member, payload)
  count_letter(dead, q.id, 1, limits)
  redis.call('HSET', dead, 'last', died)
  redis.call('HINCRBY', dead, 'bytes', size)
  redis.call('PERSIST', dead)
end

-- One that is not kept is counted.
local function give_up(dead, member, problem)
  redis.pcall('ZREM', order_key(dead), member)
  redis.pcall('HDEL', about_key(dead), member)
  redis.pcall('HDEL', payloads_key(dead), member)
  redis.pcall('HINCRBY', dead, 'dropped', 1)
  if redis.pcall('EXISTS', order_key(dead)) == 0 then
    expire(dead, COUNTS_TTL)
  end
  problem = type(problem) == 'table' and problem.err or problem
  redis.log(redis.LOG_WARNING, 'SharQ: ' .. dead .. ' did not take ' .. member .. ': ' .. problem)
end

-- Returns whether it is kept: not what is too large, or what a damaged key refuses. Its lease has ended.
local function bury(k, q, job_id, job, reason)
  if string.match(k.failing, '^%d+') == '0' then
    return false
  end
  local kept, problem = pcall(put_letter, k, q, job_id, job, reason)
  if not kept then
    give_up(k.dead, q.id .. '/' .. job_id, problem)
  end
  k.buried = true
  return kept
end
