--- Contention by a real second process that holds the write lock.
local keel = require "keel"
local uv = require "luv"
local process = require "support.process"
local support = require "support"

--- A child that holds the write lock until it is told to let go.
local function holder(path)
  local child = support.spawn([[
    local store = assert(keel.open((...)))
    local tx = assert(store:begin())
    assert(tx:put("holder's", { thread_id = "held" }))
    say "held"
    hear()
    assert(tx:commit())
    say "free"
    hear()
  ]], { path })
  child:expect "held"
  return child
end

describe("While another process holds the write lock,", function()
  local path
  before_each(function()
    path = support.path()
    assert(support.open(path):put("r", { thread_id = "t" }))
  end)
  after_each(support.clean_up)

  it("reads go on", function()
    holder(path)
    local store = support.open(path)
    assert.equal("pending", assert(store:get "r").status)
    assert.equal(1, #store:list_by_thread "t")
    assert.equal(1, #support.events(store))
  end)

  it("a write is busy, transient, when its time is over, and changed nothing", function()
    local store = support.open(path, { lock_timeout = 0.02 })
    holder(path)
    local err = support.refused("busy", store:update_status("r", "running"))
    assert.is_true(err.transient)
    assert.equal("pending", store:get("r").status)
  end)

  it("a write waits through the given sleep, in short steps, and then succeeds", function()
    local child, waits = nil, {}
    local store = support.open(path, {
      lock_timeout = 60,
      sleep = function(seconds)
        waits[#waits + 1] = seconds
        if #waits == 3 then
          child:say "go"
          child:expect "free"
        end
      end,
    })
    child = holder(path)
    assert.is_true(store:update_status("r", "running"))
    assert.is_true(#waits >= 3)
    for _, seconds in ipairs(waits) do assert.is_true(seconds > 0 and seconds <= 1, tostring(seconds)) end
  end)

  it("a write waits without being told to: lock_timeout has a default", function()
    local child
    local store = support.open(path, {
      sleep = function()
        if not child then return end
        child:say "go"
        child:expect "free"
        child = nil
      end,
    })
    child = holder(path)
    assert.is_true(store:update_status("r", "running"))
    assert.is_nil(child)
  end)

  it("opening and migrating a store waits too", function()
    local child = holder(path)
    local waits = 0
    local store = support.open(path, {
      lock_timeout = 60,
      sleep = function()
        waits = waits + 1
        if waits == 2 then
          child:say "go"
          child:expect "free"
        end
      end,
    })
    assert.truthy(store:session_id())
    assert.is_true(waits >= 2)
  end)

  it("a manager's retries reach the store when the lock is given up", function()
    local child, waits = nil, 0
    local manager = keel.run_manager {
      store = support.open(path, { lock_timeout = 0 }),
      retry = keel.retry_policy {
        max_attempts = 5, initial_delay = 0.001,
        sleep = function()
          waits = waits + 1
          if waits == 2 then
            child:say "go"
            child:expect "free"
          end
        end,
      },
    }
    child = holder(path)
    local run = assert(manager:create "t")
    assert.equal(2, waits)
    assert.equal("pending", assert(support.open(path):get(run.run_id)).status)
  end)

  it("a manager says busy when its attempts are used up, and nothing is left behind", function()
    local policy, waits = support.retry(3)
    local store = support.open(path, { lock_timeout = 0 })
    local manager = support.manager(store, { retry = policy })
    holder(path)
    assert.is_true(support.refused("busy", manager:create_or_reject "fresh").transient)
    assert.is_true(support.refused("busy", manager:create "fresh").transient)
    assert.equal(4, #waits)
    assert.same({}, manager:list_by_thread "fresh")
    assert.is_false(manager:has_inflight "fresh")
  end)

  it("an event loop that gave a sleep goes on turning", function()
    local turns, result = 0, nil
    local store = support.open(path, {
      lock_timeout = 60,
      sleep = function(seconds)
        local me, timer = coroutine.running(), uv.new_timer()
        timer:start(math.ceil(seconds * 1000), 0, function()
          timer:close()
          assert(coroutine.resume(me))
        end)
        coroutine.yield()
      end,
    })
    local manager = support.manager(store)
    local child = holder(path)
    local ticker = uv.new_timer()
    ticker:start(1, 1, function()
      turns = turns + 1
      if turns == 20 then child:say "go" end -- a loop that does not turn never lets go
    end)
    local work = coroutine.create(function() result = table.pack(manager:create_or_reject "fresh") end)
    assert(coroutine.resume(work))
    assert.is_nil(result, "the call did not wait through the sleep")
    assert.is_true(process.turn_until(function() return result end))
    ticker:close()
    assert.equal("created", result[2])
    assert.is_true(turns >= 20)
  end)
end)

describe("When another process has waited for too long, [#files]", function()
  after_each(support.clean_up)

  -- A child that was refused for long enough, by a lock that is free again; it tries once more for each "write".
  local function starver(path)
    local lock = holder(path)
    local child = support.spawn([[
      local store = assert(keel.open((...), { lock_timeout = 0 }))
      local function write() return select(2, store:append_event { kind = "late" }) end
      say "ready"
      hear()
      for _ = 1, 60 do
        assert(write().code == "busy")
        store:sleep(0.002)
      end
      say "starving"
      for line in io.lines() do say(tostring(write() or "written")) end
    ]], { path })
    child:expect "ready"
    child:say "go"
    child:expect "starving"
    lock:say "go"
    lock:expect "free"
    return child
  end

  it("a fresh writer is busy, and writes when that one has written", function()
    local path = support.path()
    local store = support.open(path, { lock_timeout = 0 })
    assert(store:session_id())
    local child = starver(path)
    local err = support.refused("busy", store:append_event { kind = "note" })
    assert.is_true(err.transient)
    support.refused("busy", store:begin())
    child:say "write"
    child:expect "written"
    assert(store:append_event { kind = "note" })
  end)

  it("a writer that waits is not held up for long by one that does not take its turn", function()
    local path = support.path()
    local store = support.open(path, { lock_timeout = 60 })
    assert(store:session_id())
    local child = starver(path)
    for _ = 1, 10 do assert(store:append_event { kind = "note" }) end
    child:kill()
    assert(support.open(path, { lock_timeout = 0 }):append_event { kind = "note" })
  end)
end)

describe("A sleep that yields", function()
  after_each(support.clean_up)

  it("keeps each waiting coroutine's own result apart", function()
    local path = support.path()
    local sleepers = {}
    local store = support.open(path, {
      lock_timeout = 60,
      sleep = function() sleepers[#sleepers + 1] = coroutine.running() coroutine.yield() end,
    })
    assert(store:put("r", { thread_id = "t" }))
    local child = holder(path)
    local results = {}
    for i = 1, 3 do
      assert(coroutine.resume(coroutine.create(function()
        results[i] = table.pack(store:put("s" .. i, { thread_id = "t" }))
      end)))
    end
    assert.equal(3, #sleepers)
    assert.equal(0, #results)
    child:say "go"
    child:expect "free"
    while #sleepers > 0 do assert(coroutine.resume(table.remove(sleepers, 1))) end
    for i = 1, 3 do assert.is_true(results[i][1]) end
    assert.equal(4, #store:list_by_thread "t")
  end)
end)
