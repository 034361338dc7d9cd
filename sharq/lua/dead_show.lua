-- One dead letter.
-- KEYS: void dead
-- ARGV: queue_id job_id
-- Returns: {queue_id/job_id, death (µs), words, payload}
--@include dead_keys
local member = ARGV[1] .. '/' .. ARGV[2]
local died = redis.call('ZSCORE', order_key(KEYS[2]), member)
if not died then
  return {}
end
return {
  member, died, redis.call('HGET', about_key(KEYS[2]), member),
  redis.call('HGET', payloads_key(KEYS[2]), member),
}
