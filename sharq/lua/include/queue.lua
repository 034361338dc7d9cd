-- A queue's state, a string: `interval:tat:head:next:leased` and, where one of them is not 0,
-- `:back:late:cleared:api:retained`, then `:cancelled` where it is not 0; behind a space the queue's
-- first job, where it is kept there.
--   tat: theoretical arrival time (TAT) of GCRA   api: 1 where the API set the interval
--   head: sequence number of the next first delivery   next: of the next job   cleared: below it
--     jobs are of a queue that was cleared   back, late: jobs given back, and delayed
--   retained: end of the API interval's retention while the queue has no jobs
--   cancelled: places from head to next whose jobs were cancelled
local function decode_queue(key, text)
  local interval, tat, head, next, leased, rest, first =
    string.match(text or '', '^(%d+):(%d+):(%d+):(%d+):(%d+)([%d:]*) (.*)$')
  local q = {
    key = key, interval = tonumber(interval), tat = tonumber(tat or 0), head = tonumber(head or 1),
    next = tonumber(next or 1), leased = tonumber(leased or 0), first = first or '',
    back = 0, late = 0, cleared = 0, retained = 0, cancelled = 0,
  }
  q.waiting = q.next - q.head
  if rest and rest ~= '' then
    local back, late, cleared, api, retained, cancelled =
      string.match(rest, '^:(%d+):(%d+):(%d+):(%d):(%d+):?(%d*)$')
    q.back, q.late, q.cleared = tonumber(back), tonumber(late), tonumber(cleared)
    q.api, q.retained = api == '1', tonumber(retained)
    q.cancelled = tonumber(cancelled) or 0
    q.waiting = q.waiting + q.back + q.late - q.cancelled
  end
  return q
end

local function encode_queue(q)
  local text = string.format('%d:%d:%d:%d:%d', q.interval, q.tat, q.head, q.next, q.leased)
  if q.api or q.back + q.late + q.cleared + q.cancelled > 0 then
    text = text .. string.format(':%d:%d:%d:%d:%d', q.back, q.late, q.cleared, q.api and 1 or 0,
      q.retained)
  end
  if q.cancelled > 0 then
    text = text .. string.format(':%d', q.cancelled)
  end
  return text .. ' ' .. q.first
end

local function load_queue(key)
  return decode_queue(key, redis.call('GET', key))
end
