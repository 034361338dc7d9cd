-- What a job keeps of its failures, behind the cost in its record: `!first,expiries,worker,error`.
--   first: when it failed first (ms)   expiries: how many of its leases have run out in a row
--   worker, error: as they were told last, in the words of sharq/failures.py; no script reads an error
local function unpack_history(history)
  local first, expiries, worker, problem = string.match(history, '^!(%d+),(%d+),([^,]*),(.*)$')
  return first, tonumber(expiries or 0), worker or '', problem or ''
end

-- Notes in the history how a lease has ended. A release is no failure, but ends a row of expiries.
local function note_end(job, told)
  local how = told.how
  if how == 'return' or (how == 'release' and job.history == '') then
    return
  end
  local first, expiries, worker, problem = unpack_history(job.history)
  job.expiries = how == 'expiry' and expiries + 1 or 0
  worker = told.worker ~= '' and told.worker or worker
  problem = told.error ~= '' and told.error or problem
  job.history = string.format('!%s,%d,%s,', first or string.format('%d', now), job.expiries, worker)
    .. problem
end
