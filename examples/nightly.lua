-- nightly.lua - a report every night at three: made once however many processes tick, tried again when it fails, and
-- not started while the last one still runs.
--
-- Usage: lua5.4 nightly.lua STORE     works until it is interrupted; start as many as you like
--        lua5.4 nightly.lua           three nights on a clock by hand
-- keel must be on Lua's path, and luv installed.
local keel = require "keel"

local NIGHTLY = {
  cron = "0 3 * * *",
  timezone = "Europe/Berlin",
  missed = "once", -- if no process was there at night: one report, in the morning
  options = { handler = "report", strategy = "reject", max_attempts = 3, timeout = 3600 },
}

-- The schedule is said each time a program starts: the same definition again changes nothing.
local function executor_on(store, handler)
  local runs = keel.run_manager { store = store, retention = { before = 90 * 86400, keep_last = 30 } }
  keel.assert(runs:schedule("nightly", NIGHTLY))
  return keel.assert(keel.executor {
    manager = runs,
    handlers = { report = handler },
    backoff = keel.retry_policy { initial_delay = 300, max_delay = 1800 },
  }), runs
end

if arg[1] then
  local executor = executor_on(keel.assert(keel.open(arg[1])), function(context)
    local child = keel.assert(context.spawn "date; df -h /")
    return { result = child:wait().output }
  end)
  keel.assert(executor:run()) -- it ticks by itself
  return
end

-- --- The example: the same, where time is ours -----------------------------------------------------------------------

local store, clock = keel.testing.store(keel.testing.clock "2026-03-27T12:00:00Z")
local executor, runs = executor_on(store, function(context)
  local is_down = context.run.scheduled_at:find "^2026%-03%-29" and context.run.attempt == 1
  if is_down then return nil, "the database is down" end
  return "all is well"
end)

for _ = 1, 3 do
  repeat -- go to what is due next, and do what is due: an occurrence, or another attempt
    clock.advance(keel.assert(runs:next_due()))
    keel.assert(runs:tick())
    executor:drain()
    local newest = runs:list_by_thread("nightly", { limit = 1 })[1]
  until newest and newest.status == "success"
end

-- The clocks go forward in the night of the 29th: three in Berlin is two in UTC, and then one.
for _, event in ipairs(keel.assert(store:read_events()).events) do
  if event.run_id and event.kind ~= "run_created" then
    print(event.at:sub(1, 16), event.kind, event.data.error or event.data.status or "")
  end
end
