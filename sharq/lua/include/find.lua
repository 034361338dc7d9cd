-- The record of a waiting job, or nil. The first job of a queue may be in its state, the others are
-- in a hash: `job_id` -> record, and `:seq` -> job_id until the first delivery.
local function find_waiting(q, jobs, job_id)
  if q.first ~= '' then
    if string.sub(q.first, 1, #job_id + 1) == job_id .. ' ' then
      return string.sub(q.first, #job_id + 2)
    elseif q.waiting == 1 then
      return nil
    end
  end
  return q.waiting > 0 and redis.call('HGET', jobs, job_id) or nil
end
