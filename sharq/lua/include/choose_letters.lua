-- The dead letters that the next step of a bulk is about: up to `wanted` of the first LOOKS ones. Returns them with
-- their deaths, and the death of the last one that was looked at, nil if there is none.
local AT_ONCE, LOOKS = 100, 200

local function choose_letters(dead, bulk, wanted)
  local members, deaths, at = {}, {}, bulk.at
  for _ = 1, LOOKS / AT_ONCE do
    local found = redis.call('ZRANGEBYSCORE', order_key(dead), '(' .. at, bulk.upto, 'WITHSCORES', 'LIMIT', 0,
      AT_ONCE)
    for i = 1, #found, 2 do
      if #members == wanted then
        return members, deaths, at
      end
      local about = redis.call('HGET', about_key(dead), found[i])
      at = found[i + 1]
      if about and is_selected(bulk, found[i], about) then
        members[#members + 1], deaths[#deaths + 1] = found[i], at
      end
    end
    if #found == 0 then
      break
    end
  end
  return members, deaths, at ~= bulk.at and at or nil
end
