-- One page of the waiting jobs of a queue: those in the set, given back or not in the sequence from the
-- beginning; then those in the sequence, then those delayed. Up to `count`, while they fit into `max_bytes`, but one at least.
-- KEYS: void held queue jobs returned delayed
-- ARGV: part start seen count max_bytes
-- Returns: part, start, seen (of the next page; an empty part after the last one),
--   {job_id, payload, requeues_remaining, position, estimated (1 or 0), ms until it is due (-1: now)}
--@include clock record queue load_queue delayed read_places fresh_before add_job read_new open
local part, start, seen = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
check_open(KEYS[2])
local q = load_queue(KEYS[3])
local page = {
  jobs = KEYS[4], out = {'', 0, 0}, left = tonumber(ARGV[4]), room = tonumber(ARGV[5]),
}

-- A page that ends in a part returns where the next one begins in it. No place is 0: that is the beginning.
local function read_returned(at)
  local from = at == 0 and '-inf' or string.format('%d', at)
  local ids = redis.call('ZRANGEBYSCORE', KEYS[5], from, '+inf', 'LIMIT', 0, page.left + 1)
  local position = at == 0 and 0 or redis.call('ZCOUNT', KEYS[5], '-inf', '(' .. from)
  for i, job_id in ipairs(ids) do
    local record = redis.call('HGET', page.jobs, job_id)
    if not add_job(page, job_id, record, position + i - 1, false, -1) then
      return tonumber((unpack_waiting(record)))
    end
  end
end

-- Those due at `at` (ms) and later, without the first `seen` of that time.
local function read_delayed(at)
  local rank = redis.call('ZCOUNT', KEYS[6], '-inf', '(' .. at) + seen
  local members = redis.call('ZRANGE', KEYS[6], rank, rank + page.left, 'WITHSCORES')
  for i = 1, #members, 2 do
    local _, job_id = split_delayed(members[i])
    local due, position = tonumber(members[i + 1]), q.waiting - q.late + rank + (i - 1) / 2
    local record = redis.call('HGET', page.jobs, job_id)
    if not add_job(page, job_id, record, position, true, math.max(0, due - now)) then
      return at
    end
    seen = due == at and seen + 1 or 1
    at = due
  end
end

for _, each in ipairs({
  {'returned', read_returned}, {'new', function(at) return read_new(page, q, at) end},
  {'delayed', read_delayed},
}) do
  if each[1] == part then
    start = each[2](start)
    if start then
      page.out[1], page.out[2], page.out[3] = part, start, seen
      return page.out
    end
    part, start, seen = part == 'returned' and 'new' or 'delayed', 0, 0
  end
end
return page.out
