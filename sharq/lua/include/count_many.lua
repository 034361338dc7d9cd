-- Counts the `counted` of each queue, if any; `total` is their sum.
local function count_many(k, kind, list, total)
  local bucket, spread = count_type(k, kind, total)
  for _, q in ipairs(list) do
    if q.counted then
      count_queue(bucket, spread, q.id, q.counted)
    end
  end
end
