-- The payload of a job that is there, and its lease.
-- KEYS: void held queue jobs dead
-- ARGV: queue_id job_id
-- Returns: payload (nil: there is no such job), n of its lease (empty: it is not leased)
--@include record leased_record queue load_queue find dead_keys
local queue_id, job_id = ARGV[1], ARGV[2]
local member = queue_id .. '/' .. job_id
local leased = redis.call('HGET', KEYS[2], member)
if leased then
  local job = unpack_leased(leased)
  return {job.payload, job.n}
end
local record = find_waiting(load_queue(KEYS[3], queue_id), KEYS[4], job_id)
if record then
  local _, _, _, payload = unpack_waiting(record)
  return {payload, ''}
end
return {redis.call('HGET', payloads_key(KEYS[5]), member), ''}
