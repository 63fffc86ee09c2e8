--- A host's sleep that yields is fine where something may yield. Elsewhere Keel waits as without it, and says so.
local keel = require "keel"
local support = require "support"

local BLOCKING = "the sleep yields where nothing may yield: waiting there blocks the thread"

local child -- holds the write lock

-- Holds the write lock in another process: until `let_go`, or for a moment.
local function hold(path, moment)
  child = support.spawn([[
    local path, moment = ...
    local store = assert(keel.open(path))
    local tx = assert(store:begin())
    say "held"
    if moment then require("keel.kernel").sleep(tonumber(moment)) else hear() end
    assert(tx:commit())
    say "free"
  ]], { path, moment })
  child:expect "held"
end

local function let_go()
  if child then child:say "go" end
  child = nil
end

local function sleep(seconds)
  let_go()
  coroutine.yield(seconds)
end

describe("A sleep that yields", function()
  local path, told, log

  before_each(function()
    path, told = support.path(), {}
    log = function(level, message) told[#told + 1] = level .. ": " .. message end
    assert(support.open(path):put("r", { thread_id = "t" }))
  end)
  after_each(support.clean_up)

  it("F-37: does not stop the main thread from waiting for the lock, and is told of once", function()
    local store = support.open(path, { sleep = function(...) return sleep(...) end, log = log })
    hold(path)
    assert.is_true(store:put("r", { thread_id = "t", priority = 1 }))
    assert.is_nil(child)
    hold(path, 0.05) -- the sleep is not called any more
    assert.is_true(store:put("r", { thread_id = "t", priority = 2 }))
    assert.same({ "warn: " .. BLOCKING }, told)
  end)

  it("F-37: nor below a C function in a coroutine, nor in what a manager does", function()
    local store = support.open(path, { sleep = function(...) return sleep(...) end, log = log })
    hold(path)
    local results = table.pack(pcall(coroutine.wrap(function()
      local ok, sorted = true, { 1, 2 }
      table.sort(sorted, function() -- in a coroutine, but nothing may yield here
        ok = ok and store:put("r", { thread_id = "t", priority = 2 })
      end)
      return ok
    end)))
    assert.same({ true, true, n = 2 }, results)
    assert.is_nil(child)
    hold(path, 0.05)
    local runs = keel.run_manager { store = store, retry = keel.retry_policy { sleep = sleep } }
    assert(runs:create_or_reject "u")
    store:sleep(0)
  end)

  it("F-37: is passed over between the tries of a retry policy", function()
    local calls = 0
    local policy = keel.retry_policy { sleep = sleep, initial_delay = 0.001 }
    local result = policy:call(function()
      calls = calls + 1
      if calls < 3 then return nil, { code = "busy", message = "m", transient = true } end
      return "done"
    end)
    assert.equal("done", result)
    local wrapped = support.wrap(support.open(path), { put = support.fail(2, support.busy()) })
    local runs = keel.run_manager { store = wrapped, log = log,
      retry = keel.retry_policy { sleep = function(...) return sleep(...) end, initial_delay = 0.001 } }
    assert(runs:create "t")
    local warned = 0
    for _, line in ipairs(told) do warned = warned + (line == "warn: " .. BLOCKING and 1 or 0) end
    assert.equal(1, warned)
  end)

  it("F-37: does not stop the main thread from waiting for events", function()
    local store = support.open(path, { sleep = function(...) return sleep(...) end, log = log })
    local cursor = assert(store:read_events()).cursor
    assert.is_false(store:wait_events(cursor, { timeout = 0.01 }))
    local writer = support.spawn([[
      local store = assert(keel.open((...)))
      hear()
      assert(store:append_event { kind = "note" })
    ]], { path })
    writer:say "go"
    assert.is_true(store:wait_events(cursor, { timeout = 60 }))
    assert.same({ "warn: " .. BLOCKING }, told)
  end)

  it("F-37: in memory, where nobody else can write, waiting without end is refused as without it", function()
    support.invalid("timeout", support.open(":memory:", { sleep = sleep }):wait_events())
  end)
end)

describe("A sleep that does not yield", function()
  after_each(support.clean_up)

  it("is called in the main thread as in a coroutine", function()
    local slept = 0
    local store = support.open(":memory:", { sleep = function() slept = slept + 1 end })
    store:sleep(0.5)
    coroutine.wrap(function() store:sleep(0.5) end)()
    assert.equal(2, slept)
  end)
end)
