-- What is at the places `first` to `last` of a queue's sequence: a job_id, the end of a gap, or false.
local function read_places(jobs, first, last)
  local fields = {}
  for i = first, last do
    fields[i - first + 1] = string.format(':%d', i)
  end
  return redis.call('HMGET', jobs, unpack(fields))
end
