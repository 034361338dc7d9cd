-- The stored form of a waiting job: `seq:left:attempt payload`. `seq` is its place in the order of
-- enqueues, `left` the requeues that remain (-1: no limit), `attempt` the counted deliveries that
-- have ended.
-- A job that is no larger than SMALL, and the only one that waits, is kept in the queue's state.
local SMALL = 200

local function payload_of(record)
  return string.sub(record, string.find(record, ' ', 1, true) + 1)
end

local function pack_waiting(seq, left, attempt, payload)
  return string.format('%d:%s:%d ', seq, left, attempt) .. payload
end

local function unpack_waiting(record)
  return string.match(record, '^(%d+):(-?%d+):(%d+) (.*)$')
end
