-- Damaged keys of one queue must not affect the others of its type.
local function tell_damage(key, what)
  redis.log(redis.LOG_WARNING, 'SharQ: ' .. key .. ' is damaged: ' .. what)
end

-- Whether an error of `pcall` comes from that. Any other is passed on, such as that of a cluster
-- with a moving slot.
local function is_damage(problem)
  local text = type(problem) == 'table' and problem.err or problem
  if string.find(text, 'WRONGTYPE', 1, true)
    or string.find(text, 'arguments must be strings', 1, true) then
    return true
  end
  error(problem, 0)
end
