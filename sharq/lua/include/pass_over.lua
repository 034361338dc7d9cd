-- Skips jobs that are gone: they were removed from outside.
local PASSED_AT_ONCE = 1000

local function pass_over(k, q, job_id)
  local last, before = math.min(q.head + PASSED_AT_ONCE, q.next), q.waiting
  if job_id then
    pop_job(q, k.jobs .. q.id, job_id)
  else
    repeat
      q.head = q.head + 1
    until q.head == last
      or redis.call('HEXISTS', k.jobs .. q.id, string.format(':%d', q.head)) == 1
  end
  -- Of gaps, too, the ends may be gone: what is left of them counts as such jobs.
  q.apart = 0
  count_waiting(q)
  add_waiting(k, q.waiting - before)
  q.ahead, q.collected = nil, true
  tell_damage(k.queues .. q.id, 'jobs are gone')
end
