-- Lets up to a hundred leases of one type end at the later of their end and `by` ms from now, in
-- order. With 0 only one that has run out changes: it ends now.
-- KEYS: void leases held
-- ARGV: marks retention requests by {queue_id job_id n}
-- Returns: {status (success, not_active, stale_lease, already_finished), ms that are left}
--@include status clock leased_record bucket mark read_mark refusal lease
local leases, by, out = KEYS[2], tonumber(ARGV[4]), {}
for i = 5, #ARGV, 3 do
  local member, left = ARGV[i] .. '/' .. ARGV[i + 1], 0
  local job, refusal =
    leased_job(KEYS[3], ARGV[1], tonumber(ARGV[2]), member, ARGV[i + 2])
  if job then
    local ends = tonumber(redis.call('ZSCORE', leases, member) or 0)
    if now + by > ends then
      ends = now + by
      redis.call('ZREM', leases, member)
      redis.call('ZADD', leases, ends, member)
      --@audit 'extend', member, 'n', job.n, 'ends', ends
      local request = ARGV[3] .. job.request
      if job.request ~= '' and redis.call('PTTL', request) < by then
        expire(request, by)
      end
    end
    left = math.max(0, ends - now)
  end
  out[#out + 1] = job and SUCCESS or refusal
  out[#out + 1] = left
end
return out
