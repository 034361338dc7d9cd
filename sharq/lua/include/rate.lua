-- If no job is left: expired state is gone, and the queue starts as a new one.
local function begin_anew(q)
  if q.tat <= now then
    q.tat = 0
  end
  if q.api and q.retained <= now then
    q.api = false
  end
  if q.tat == 0 and not q.api then
    q.interval = nil
  end
end

-- A change of interval moves the dispatch that is already scheduled: TAT - old + new.
local function change_interval(q, interval)
  if q.tat > 0 then
    q.tat = q.tat - q.interval + interval
  end
  q.interval = interval
end
