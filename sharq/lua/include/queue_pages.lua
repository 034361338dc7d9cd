-- Pages of the queues that have jobs: of those in the schedule of the type, of those of each group in turn, then
-- of those with leases. A queue may be on more than one. Returns members and scores in turn, of those whose names
-- begin with `prefix`, and where the next page begins: part (empty after the last one), group, cursor.
-- k: ready leases limit
local function page_of_queues(k, part, group, cursor, count, prefix)
  local key = k.leases
  if part == 'type' then
    key = redis.call('EXISTS', k.limit) == 1 and line_key(k.limit) or k.ready
  elseif part == 'group' then
    key = schedule_key(k.limit, group)
  end
  local page = prefix == '' and redis.call('ZSCAN', key, cursor, 'COUNT', count)
    or redis.call('ZSCAN', key, cursor, 'COUNT', count, 'MATCH', prefix .. '*')
  cursor = page[1]
  if cursor == '0' and part == 'leased' then
    part = ''
  elseif cursor == '0' then
    local after, groups = part == 'type' and '-' or '(' .. group, groups_key(k.limit)
    group = redis.call('EXISTS', groups) == 1
      and redis.call('ZRANGEBYLEX', groups, after, '+', 'LIMIT', 0, 1)[1]
    part, group = group and 'group' or 'leased', group or ''
  end
  return page[2], part, group, cursor
end
