-- Appends a leased job to the answer of a dequeue.
local function answer_job(out, queue_id, job_id, job, length)
  local i = #out
  out[i + 1], out[i + 2], out[i + 3] = queue_id, job_id, job.n
  out[i + 4], out[i + 5], out[i + 6], out[i + 7] = job.left, job.attempt, length, job.payload
end
