-- Deliveries of two events each, 1.5 KB, every event with an id of its own. For wrk.
-- Stacks as Android's are, and different ones: what repeats itself in a body can be stored shorter.
local traces = {
  { "com.example.shop.CheckoutActivity.onResume(CheckoutActivity.kt:%d)",
    "android.app.Instrumentation.callActivityOnResume(Instrumentation.java:1488)",
    "android.app.Activity.performResume(Activity.java:8321)",
    "android.app.ActivityThread.performResumeActivity(ActivityThread.java:4829)",
    "android.app.ActivityThread.handleResumeActivity(ActivityThread.java:4872)",
    "android.app.ActivityThread$H.handleMessage(ActivityThread.java:2308)" },
  { "com.example.shop.cart.CartAdapter.onBindViewHolder(CartAdapter.kt:%d)",
    "androidx.recyclerview.widget.RecyclerView$Adapter.bindViewHolder(RecyclerView.java:7847)",
    "androidx.recyclerview.widget.RecyclerView$Recycler.getViewForPosition(RecyclerView.java:6506)",
    "androidx.recyclerview.widget.LinearLayoutManager.layoutChunk(LinearLayoutManager.java:1631)",
    "android.view.View.layout(View.java:24475)" },
  { "com.example.shop.api.PriceService.load(PriceService.kt:%d)",
    "okhttp3.internal.http.RealInterceptorChain.proceed(RealInterceptorChain.kt:109)",
    "okhttp3.internal.connection.RealCall$AsyncCall.run(RealCall.kt:517)",
    "java.util.concurrent.ThreadPoolExecutor.runWorker(ThreadPoolExecutor.java:1145)",
    "java.util.concurrent.ThreadPoolExecutor$Worker.run(ThreadPoolExecutor.java:644)",
    "java.lang.Thread.run(Thread.java:1012)" },
  { "com.example.shop.account.ProfileFragment.onViewCreated(ProfileFragment.kt:%d)",
    "androidx.fragment.app.Fragment.performViewCreated(Fragment.java:3147)",
    "androidx.fragment.app.FragmentStateManager.createView(FragmentStateManager.java:588)",
    "androidx.fragment.app.FragmentManager.executeOpsTogether(FragmentManager.java:2189)",
    "android.os.Handler.handleCallback(Handler.java:942)",
    "android.os.Looper.loopOnce(Looper.java:201)" },
  { "com.example.shop.sync.SyncWorker.doWork(SyncWorker.kt:%d)",
    "androidx.work.CoroutineWorker$startWork$1.invokeSuspend(CoroutineWorker.kt:68)",
    "kotlin.coroutines.jvm.internal.BaseContinuationImpl.resumeWith(ContinuationImpl.kt:33)",
    "kotlinx.coroutines.DispatchedTask.run(DispatchedTask.kt:106)",
    "kotlinx.coroutines.scheduling.CoroutineScheduler$Worker.run(CoroutineScheduler.kt:684)" },
}
local stacks = {}
for stack = 1, 101 do
  stacks[stack] = string.format("at " .. table.concat(traces[stack % #traces + 1], "\\n\\tat "), stack * 37 % 400 + 10)
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
