-- Leases up to `count` jobs, each from the queue that has been ready longest. A server with a `channel` then waits for
-- the jobs that it did not get; `seq` is the number of its call, and with `more` (1) it has room beyond `count`. Of a
-- shard only queues that have been ready for `age` ms count; its answer to a request goes on behind the `known` jobs.
-- KEYS: void ready leases held serial waiting limit request?
-- ARGV: queues jobs returned delayed counters count lease_ms max_bytes request_id channel seq more age? known?
-- Returns: wait (µs until the next queue is ready; 0: now, -1: none is scheduled), rank among the
--   servers that wait for it (of a shard without a wait its `head`), ms for which the first job's queue was ready (-1: nobody can tell), {queue_id,
--   job_id, n, requeues_remaining, attempt, length after it, payload, interval}
--@include clock record bucket count serial
local ready, held, waiting, request = KEYS[2], KEYS[4], KEYS[6], KEYS[8]
local wanted, lease_ms, request_id = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[9]
local channel, seq, known = ARGV[10], ARGV[11], tonumber(ARGV[14] or 0)
local mark = request and redis.call('GET', request)
-- A server's last mark is usually of another call.
if mark and string.sub(mark, 1, #seq + 1) == seq .. '|' and select(2, string.gsub(mark, ' ', '')) >= known then
  --@include leased_record replay
  return replay(mark, held, ARGV[1], known)
end

local k = {
  ready = ready, leases = KEYS[3], held = held, serial = KEYS[5], limit = KEYS[7], queues = ARGV[1],
  jobs = ARGV[2], counters = ARGV[5], till = ARGV[13] and now_us / 1000 - tonumber(ARGV[13]),
}
local head, out, next_at, limited = 0
if wanted == 1 then
  --@include take_plain
  out, next_at, limited = take_plain(k, lease_ms, request_id)
end
if not out then
  --@include queue encode queues schedule count_many change_totals delayed next_job gap pop_job damage pass_over take_one save_taken number_taken ready_queues take_jobs
  k.returned, k.delayed = ARGV[3], ARGV[4]
  out = {0, 0, -1}
  local room = tonumber(ARGV[8])
  if not limited then
    next_at, limited = take_jobs(k, out, wanted, lease_ms, room, request_id)
  end
  if limited then
    --@include more level level_keys levels leases turns first_turn save_levels type_limits charge_all find_turn take_limited
    open_levels(k, redis.call('GET', k.limit))
    lift_type(k)
    next_at = take_limited(k, out, wanted, lease_ms, room, request_id)
  end
end
if k.early then
  --@include early
  count_early(k)
end
local took = #out > 3
if request and took then
  --@include remember
  remember(request, seq, out, lease_ms, known > 0 and mark)
end
if k.till then
  --@include head
  head, next_at = head_of(k, next_at)
end
if next_at then
  out[1] = next_at == math.huge and -1 or math.ceil(next_at * 1000 - now_us)
end
if channel ~= '' and (next_at or redis.call('EXISTS', waiting) == 1) then
  --@include waiting line_up wake stand_in_line
  out[2] = stand_in_line(waiting, k, channel, next_at, took, ARGV[12] == '1')
end
out[2] = next_at and out[2] or head
return out
