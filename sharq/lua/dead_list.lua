-- A page of a type's dead letters, the newest first, that a filter selects ('' selects all): up to `count`, and up
-- to `max_bytes` but for one. It looks at a limited number of them.
-- KEYS: void dead
-- ARGV: queue_id reason error before at count max_bytes
-- Returns: where the next page begins (empty: it was the last), {queue_id/job_id, death (µs), words, payload}
--@include dead_keys selected
-- Looked at in one command, and for one page.
local AT_ONCE, LOOKS = 100, 200
-- The bytes of a dead letter in an answer besides its words and its payload, at most.
local FRAME = 300
local order, abouts_in, payloads = order_key(KEYS[2]), about_key(KEYS[2]), payloads_key(KEYS[2])
local filter = {queue_id = ARGV[1], reason = ARGV[2], error = ARGV[3]}
local from = ARGV[5] == '' and death_before(ARGV[4]) or '(' .. ARGV[5]
local count, room, out = tonumber(ARGV[6]), tonumber(ARGV[7]), {''}
local looked = 0
while looked < LOOKS do
  local found = redis.call('ZREVRANGEBYSCORE', order, from, '-inf', 'WITHSCORES', 'LIMIT', 0, AT_ONCE)
  if #found == 0 then
    return out
  end
  local names = {}
  for i = 1, #found, 2 do
    names[#names + 1] = found[i]
  end
  local abouts = redis.call('HMGET', abouts_in, unpack(names))
  for at, name in ipairs(names) do
    local about = abouts[at]
    if about and is_selected(filter, name, about) then
      local payload = redis.call('HGET', payloads, name) or ''
      room = room - #name - #about - #payload - FRAME
      if count == 0 or (room < 0 and #out > 1) then
        return out
      end
      local last = #out
      out[last + 1], out[last + 2], out[last + 3], out[last + 4] = name, found[2 * at], about, payload
      count = count - 1
    end
    out[1], from = found[2 * at], '(' .. found[2 * at]
  end
  looked = looked + #names
  if #names < AT_ONCE then
    out[1] = ''
    return out
  end
end
return out
