-- Deliveries of two events each, 1.5 KB, every event with an id of its own. For wrk.
-- Stacks that differ, as they do: what repeats itself in a body can be stored shorter.
local packages = { "com.example.shop", "com.example.shop.cart", "com.example.account", "androidx.fragment.app",
  "androidx.lifecycle", "android.os", "android.view", "java.util.concurrent", "kotlinx.coroutines", "okhttp3.internal" }
local classes = { "CheckoutActivity", "CartAdapter", "FragmentManager", "Handler", "Choreographer", "SessionRepository",
  "LiveData", "ThreadPoolExecutor", "DispatchedTask", "RealCall", "ViewModelStore", "Looper", "PriceFormatter" }
local methods = { "onResume", "dispatchMessage", "bind", "performTraversals", "execute", "resumeWith", "loop", "format",
  "getOrThrow", "invalidate", "onBindViewHolder", "intercept", "run", "doFrame", "observe", "moveToState", "load" }
local stacks = {}
for stack = 1, 101 do
  local lines = {}
  for line = 1, 7 do
    local place = stack * 7 + line * 31 + stack * line
    local class = classes[place % #classes + 1]
    lines[line] = string.format("at %s.%s.%s(%s.kt:%d)", packages[place % #packages + 1], class,
      methods[place % #methods + 1], class, place * 37 % 900 + 10)
  end
  stacks[stack] = table.concat(lines, "\\n")
end

local event = '{"id":"%s","title":"NullPointerException in CheckoutActivity","text":"%s",'
  .. '"app":{"id":1001,"name":"Shop"},"type":"crash","status":"open","session":{"app_version":{"version":"3.2.1",'
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

local function stack()
  return stacks[number * 13 % #stacks + 1]
end

function request()
  return wrk.format(nil, nil, nil, string.format(both, id(), stack(), id(), stack()))
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format('{"requests":%d,"us":%d,"p50_us":%d,"p99_us":%d,"not_2xx":%d,"broken":%d}', summary.requests,
    summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
