-- The stored form of a waiting job: `place:left:attempt payload`. `place` orders the jobs of a queue: its
-- sequence number, less PRIORITY for each priority. `left`: the requeues that remain (-1: no limit),
-- `attempt`: the counted deliveries that have ended. A cost over 1 follows: `place:left:attempt:cost payload`.
-- A job that is no larger than SMALL, and the only one that waits, is kept in the queue's state.
local SMALL = 200

local function payload_of(record)
  return string.sub(record, string.find(record, ' ', 1, true) + 1)
end

local function pack_waiting(place, left, attempt, payload, cost)
  local more = cost and cost > 1 and string.format(':%d ', cost) or ' '
  return string.format('%d:%s:%d', place, left, attempt) .. more .. payload
end

-- The last one is what follows, '' if nothing does.
local function unpack_waiting(record)
  local place, left, attempt, more, payload =
    string.match(record, '^(-?%d+):(-?%d+):(%d+):?(%S*) (.*)$')
  return place, left, attempt, payload, more
end
