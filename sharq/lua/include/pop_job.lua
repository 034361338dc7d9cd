-- Removes the job that `next_job` has found: from the state at once, from elsewhere by notes for
-- `save_taken`: `popped` fields of the hash, `restored` jobs of the set.
local function pop_job(q, jobs, job_id)
  q.waiting = q.waiting - 1
  local popped = q.popped or {}
  if q.from_set then
    q.back, q.restored, q.popped = q.back - 1, q.restored or {}, popped
    q.restored[#q.restored + 1], popped[#popped + 1] = job_id, job_id
    return
  elseif q.first ~= '' then
    q.head, q.first = q.head + 1, ''
  else
    popped[#popped + 1], popped[#popped + 2] = job_id, string.format(':%d', q.head)
    q.head, q.popped = q.head + 1, popped
  end
  skip_gap(q, jobs)
end
