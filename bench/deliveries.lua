-- Deliveries of two events each, 1.5 KB, every event with an id of its own. For wrk.
local filler = string.rep("at com.example.shop.CheckoutActivity.onResume(CheckoutActivity.kt:42) ", 6)
local event = '{"id":"%s","title":"NullPointerException in CheckoutActivity","text":"' .. filler
  .. '","app":{"id":1001,"name":"Shop"},"type":"crash","status":"open","session":{"app_version":{"version":"3.2.1",'
  .. '"build":"321"},"os_version":"15","language":"en"},"device":{"name":"Pixel 9","language":"en","user_data":{}}}'
local both = "[" .. event .. "," .. event .. "]"
local threads, number = 0, 0

function setup(thread)
  threads = threads + 1
  thread:set("me", threads)
end

function init(args)
  math.randomseed(os.time() * 100 + me)
  run = string.format("%x%06x", os.time(), math.random(0, 0xffffff))
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
end

local function id()
  number = number + 1
  -- Random at the front, as ids are; unique by what follows.
  return string.format("%07x-%s-%d-%d", math.random(0, 0xfffffff), run, me, number)
end

function request()
  return wrk.format(nil, nil, nil, string.format(both, id(), id()))
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format('{"requests":%d,"us":%d,"p50_us":%d,"p99_us":%d,"not_2xx":%d,"broken":%d}', summary.requests,
    summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
