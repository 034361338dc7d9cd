-- One page of the leased jobs of a queue, found among those of its type.
-- KEYS: void leases held
-- ARGV: queue_id cursor count
-- Returns: cursor of the next page ("0": this is the last one), {job_id, n, ms until its lease ends, attempt}
--@include clock leased_record
local beginning = ARGV[1] .. '/'
local page = redis.call('ZSCAN', KEYS[2], ARGV[2], 'COUNT', ARGV[3], 'MATCH', beginning .. '*')
local out = {page[1]}
for i = 1, #page[2], 2 do
  local record, last = redis.call('HGET', KEYS[3], page[2][i]), #out
  if record then
    local job = unpack_leased(record)
    out[last + 1], out[last + 2] = string.sub(page[2][i], #beginning + 1), job.n
    out[last + 3], out[last + 4] = math.max(0, page[2][i + 1] - now), job.attempt
  end
end
return out
