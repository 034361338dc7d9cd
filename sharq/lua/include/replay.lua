-- Repeats the answer kept by `remember` for the number of the call, from behind the `known` first: the jobs that are
-- still under the same lease, with the present interval and burst.
local function replay(mark, held, queues, known)
  local out = {0, 0, -1}
  local words = string.sub(mark, string.find(mark, '|', 1, true) + 1)
  for queue_id, job_id, n, length in string.gmatch(words, '([^/ ]+)/([^/]+)/(%d+)/(%d+)') do
    known = known - 1
    local record = known < 0 and redis.call('HGET', held, queue_id .. '/' .. job_id)
    local job = record and unpack_leased(record)
    if job and job.n == n then
      local i = #out
      out[i + 1], out[i + 2], out[i + 3], out[i + 4] = queue_id, job_id, n, job.left
      out[i + 5], out[i + 6], out[i + 7] = job.attempt, tonumber(length), job.payload
      -- Checked read: a key of another kind must do no harm here.
      local state = redis.pcall('GET', queues .. queue_id)
      state = type(state) == 'string' and state or ''
      local burst, api, text = string.match(state, '^~(%d+):(%d+):%S-|([%d.]+):')
      text = text or string.match(state, '^([%d.]+):') or '0'
      text = tonumber(text) % 1 == 0 and string.format('%d', text) or text
      burst = burst and (api == '0' and burst or api) or '0'
      if tonumber(burst) > 1 then
        out[i + 8] = text .. '*' .. burst
      else
        out[i + 8] = tonumber(text) % 1 == 0 and tonumber(text) or text
      end
    end
  end
  return out
end
