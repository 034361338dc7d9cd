-- The stored form of a waiting job: `place:left:attempt payload`. `place` orders the jobs of a queue: its
-- sequence number, less PRIORITY for each priority. `left`: the requeues that remain (-1: no limit),
-- `attempt`: the counted deliveries that have ended. A cost over 1 follows: `place:left:attempt:cost payload`,
-- then the history of a job that failed, if any: `place:left:attempt!history payload`.
-- A job that is no larger than SMALL, and the only one that waits, is kept in the queue's state.
local SMALL = 200

local function payload_of(record)
  return string.sub(record, string.find(record, ' ', 1, true) + 1)
end

local function pack_waiting(place, left, attempt, payload, cost, history)
  local text = string.format('%d:%s:%d', place, left, attempt)
  if cost or history then
    text = text .. (cost and cost > 1 and string.format(':%d', cost) or '') .. (history or '')
  end
  return text .. ' ' .. payload
end

-- The last two are '' where they are missing.
local function unpack_waiting(record)
  local place, left, attempt, payload = string.match(record, '^(-?%d+):(-?%d+):(%d+) (.*)$')
  if place then
    return place, left, attempt, payload, '', ''
  end
  local cost, history
  place, left, attempt, cost, history, payload =
    string.match(record, '^(-?%d+):(-?%d+):(%d+):?([^! ]*)(%S*) (.*)$')
  return place, left, attempt, payload, cost, history
end
