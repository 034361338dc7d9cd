-- The limits of a queue besides its interval.
local function with_more(q)
  q.more = q.more or {
    burst = 0, burst_api = 0, slots = 0, slots_api = 0, group = '', group_api = '', about = '', by = '',
    why = '',
  }
  return q.more
end
