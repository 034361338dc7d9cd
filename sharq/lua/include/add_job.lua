-- Adds a waiting job to a page, unless the page is full: false. One that is gone counts as added.
-- The bytes of a job in an answer besides its payload and its name, at most.
local FRAME = 200

local function add_job(page, job_id, record, position, estimated, due_in)
  if not record then
    return true
  end
  local _, left, _, payload = unpack_waiting(record)
  local out, last = page.out, #page.out
  page.left, page.room = page.left - 1, page.room - #payload - #job_id - FRAME
  if page.left < 0 or (page.room < 0 and last > 3) then
    return false
  end
  out[last + 1], out[last + 2], out[last + 3], out[last + 4] = job_id, payload, left, position
  out[last + 5], out[last + 6] = estimated and 1 or 0, due_in
  return true
end
