-- Marks of jobs that were copied from another store, which has kept them: what a job is, by a hash of its name and
-- payload, is in one of 1,024 keys. They are kept for thirty days.
local COPIED_KEYS, COPIED_TTL = 1024, 2592000000

local function mark_of(moving, member, payload)
  local digest = redis.sha1hex(member .. ' ' .. payload)
  return {moving .. ':' .. tonumber(string.sub(digest, 1, 4), 16) % COPIED_KEYS, digest}
end

local function is_copied(mark)
  return redis.call('HEXISTS', mark[1], mark[2]) == 1
end

-- With `keeps` the other store has kept these jobs, without it the marks have served.
local function note_copied(marks, statuses, keeps)
  for at, mark in ipairs(marks) do
    if keeps and statuses[at] == QUEUED then
      redis.call('HSET', mark[1], mark[2], '')
      expire(mark[1], COPIED_TTL)
    elseif not keeps and statuses[at] == COPIED then
      redis.call('HDEL', mark[1], mark[2])
    end
  end
end
