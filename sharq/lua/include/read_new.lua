-- Adds the never delivered jobs from the place `at` on to a page. Returns where the next page begins
-- in them, or nil after the last one.
-- The places that a page looks at, at most: it may begin inside of a long gap.
local MOST_PLACES = 10000

-- Adds those from `at` to `last`. Returns the place after them, and whether the page is full.
local function read_some(page, jobs, at, last, estimated)
  local first, found = at, read_places(jobs, at, last)
  while at <= last do
    local field = found[at - first + 1]
    local gap = field and string.match(field, '^/(%d+)$')
    if field and not gap then
      local record = redis.call('HGET', jobs, field)
      if not add_job(page, field, record, page.position, estimated, -1) then
        return at, true
      end
      page.position = page.position + 1
    end
    -- A page may begin inside of a gap, whose end then has the beginning.
    at = math.max(gap or at, at) + 1
  end
  return at, false
end

local function read_new(page, q, at)
  at = math.max(at, q.head)
  if at >= q.next then
    return nil
  end
  local before, estimated = fresh_before(q, page.jobs, at)
  page.position = q.back + before
  if at == q.head and q.first ~= '' then
    local job_id, record = string.match(q.first, '^(%S+) (.*)$')
    if not add_job(page, job_id, record, page.position, false, -1) then
      return at
    end
    at, page.position = at + 1, page.position + 1
  end
  for _ = 1, MOST_PLACES / AT_ONCE do
    if at >= q.next then
      return nil
    end
    local full
    at, full = read_some(page, page.jobs, at, math.min(at + AT_ONCE, q.next) - 1, estimated)
    if full then
      return at
    end
  end
  return at < q.next and at or nil
end
