-- How long a failed job stays away (ms): `backoff_min`, doubled with each attempt, up to `backoff_max`, ± 20 %
-- as drawn for its lease from the seed of the call.
-- k: failing
local MOST_DOUBLINGS = 62

local function backoff(k, member, job)
  local least, most, seed = string.match(k.failing, ':(%d+):(%d+):(%w+)$')
  local ms = math.min(least * 2 ^ math.min(job.attempt - 1, MOST_DOUBLINGS), tonumber(most))
  local hash = redis.sha1hex(seed .. ':' .. member .. ':' .. job.n)
  local drawn = tonumber(string.sub(hash, 1, 8), 16) / 2 ^ 32
  return math.floor(ms * (0.8 + 0.4 * drawn) + 0.5)
end
