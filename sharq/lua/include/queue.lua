-- A queue's state, a string: `interval:tat:head:next:leased` and, where one of them is not 0,
-- `:back:late:cleared:api:retained`, then `:apart` where it is not 0; behind a space the queue's
-- first job, where it is kept there.
--   tat: theoretical arrival time (TAT) of GCRA   api: 1 where the API set the interval
--   head: sequence number of the next first delivery   next: of the next job   cleared: below it
--     jobs are of a queue that was cleared   back, late: jobs ordered by their places, and delayed
--   retained: end of the retention of what the API has set, while the queue has no jobs
--   apart: sequence numbers from head to next whose jobs are not in the sequence
-- A queue with other limits has them in front: `~`, then `burst:burst_api:slots:slots_api:paused:last:
-- units:group:group_api:about:by:why`, as enqueues and as the API have set them (0 or empty: not), then `|`.
--   slots: concurrency   paused: end of a pause (ms, `inf` if it is open, 0 for none)   by, why: who
--     paused it, and the reason   about: the reason for the limits
--   last: time of the last dispatch, 0 if it is tat - interval   units: its cost, if interval is 0

-- What limits the queue: of the API, else of enqueues.
local function take_effect(q)
  local m = q.more
  local burst = m.burst_api > 0 and m.burst_api or m.burst
  local slots = m.slots_api > 0 and m.slots_api or m.slots
  local group = m.group_api ~= '' and m.group_api or m.group
  q.burst, q.concurrency = burst > 1 and burst or nil, slots > 0 and slots or nil
  q.group = group ~= '' and group or nil
end

local function decode_more(q, text)
  local burst, burst_api, slots, slots_api, paused, last, units, group, group_api, about, by, why =
    string.match(text, '^(%d+):(%d+):(%d+):(%d+):(.-):(.-):(%d+):(.-):(.-):(.-):(.-):(.-)$')
  q.more = {
    burst = tonumber(burst), burst_api = tonumber(burst_api), slots = tonumber(slots),
    slots_api = tonumber(slots_api), group = group, group_api = group_api, about = about, by = by, why = why,
  }
  q.paused, q.last, q.units = tonumber(paused), tonumber(last), tonumber(units)
  q.last = q.last > 0 and q.last or nil
  take_effect(q)
  q.home = q.group
end

local function decode_queue(key, text)
  local interval, tat, head, next, leased, rest, first =
    string.match(text or '', '^(%d+):(%d+):(%d+):(%d+):(%d+)([%d:]*) (.*)$')
  local more
  if text and not interval then
    more, interval, tat, head, next, leased, rest, first =
      string.match(text, '^~(%S-)|([%d.]+):([%d.]+):(%d+):(%d+):(%d+)([%d:]*) (.*)$')
  end
  -- `+ 0` is a quicker `tonumber`.
  local q = {
    key = key, interval = interval and interval + 0, tat = (tat or 0) + 0, head = (head or 1) + 0,
    next = (next or 1) + 0, leased = (leased or 0) + 0, first = first or '',
    back = 0, late = 0, cleared = 0, retained = 0, apart = 0,
  }
  q.waiting = q.next - q.head
  if rest and rest ~= '' then
    local back, late, cleared, api, retained, apart =
      string.match(rest, '^:(%d+):(%d+):(%d+):(%d):(%d+):?(%d*)$')
    q.back, q.late, q.cleared = tonumber(back), tonumber(late), tonumber(cleared)
    q.api, q.retained, q.apart = api == '1', tonumber(retained), tonumber(apart) or 0
    q.waiting = q.waiting + q.back + q.late - q.apart
  end
  if more then
    decode_more(q, more)
  end
  return q
end
