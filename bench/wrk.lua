-- What wrk sends: kind, queue type, number of queues, interval (ms), and what makes job ids unique.
-- As its last line it prints requests, µs, answers that were refusals, errors of the socket, and how
-- many µs half and 99 % of the requests took at most.

local PAYLOAD = '{"to":"+15550100","text":"Your code is 1234"}'
local HOST = 'HTTP/1.1\r\nHost: 127.0.0.1\r\n'

local function post(path, body)
  return 'POST ' .. path .. ' ' .. HOST .. 'Content-Length: ' .. #body .. '\r\n\r\n' .. body
end

local kinds = {}

function kinds.hello()
  local hello = 'GET / ' .. HOST .. '\r\n'
  request = function() return hello end
end

function kinds.enqueue(queue_type, queues, interval, unique)
  local template = '{"job_id":"%s-%011d","interval":%d,"payload":%s}'
  local number = 0
  request = function()
    number = number + 1
    local path = string.format('/enqueue/%s/queue-%d/', queue_type, number % queues)
    return post(path, string.format(template, unique, number, interval, PAYLOAD))
  end
end

-- Any connection sends the finish of a job that another one was given.
function kinds.cycle(queue_type)
  local dequeue = 'GET /dequeue/' .. queue_type .. '/ ' .. HOST .. '\r\n'
  local ends, count = {}, 0
  request = function()
    if count == 0 then
      return dequeue
    end
    count = count - 1
    return ends[count + 1]
  end
  response = function(status, _, body)
    local queue_id = status == 200 and string.match(body, '"queue_id": *"([^"]+)"')
    if queue_id then
      local job_id = string.match(body, '"job_id": *"([^"]+)"')
      local lease = string.match(body, '"lease": *"([^"]+)"')
      count = count + 1
      ends[count] = post(
        '/finish/' .. queue_type .. '/' .. queue_id .. '/' .. job_id .. '/',
        lease and '{"lease":"' .. lease .. '"}' or ''
      )
    end
  end
end

function init(args)
  kinds[args[1]](args[2], tonumber(args[3]), tonumber(args[4]), args[5])
end

function done(summary, latency)
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  print(string.format('%d %d %d %d %d %d', summary.requests, summary.duration, errors.status, broken,
    latency:percentile(50), latency:percentile(99)))
end
