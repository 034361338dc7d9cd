-- Sets the limits of a queue by the API.
local function limit_queue(k, queue_id, values)
  local q = load_queue(k.queues .. queue_id, queue_id)
  if q.waiting + q.leased == 0 then
    begin_anew(q)
  end
  change_queue(q, values)
  if q.waiting > 0 then
    take_turn(k, q)
  else
    move_home(k, q)
  end
  save_queue(q, k.interval_retention)
  --@audit 'limits', queue_id, 'interval', q.interval, 'burst', q.burst or 1, 'concurrency',
  --@ q.concurrency or 0, 'group', q.group or '', 'api', q.api == true
end
