--- Waiting for events: in one process under a scheduler, and between real processes.
local keel = require "keel"
local lfs = require "lfs"
local uv = require "luv"
local process = require "support.process"
local support = require "support"

--- Where a reader stands that has read everything.
local function caught_up(store)
  local page
  repeat page = assert(store:read_events(page and page.cursor, 1000)) until not page.has_more
  return page.cursor
end

--- A scheduler: sleep yields, and `turn()` resumes whoever sleeps. Time does not pass.
local function scheduler()
  local sleepers, steps = {}, {}
  local function sleep(seconds)
    steps[#steps + 1] = seconds
    sleepers[#sleepers + 1] = coroutine.running()
    coroutine.yield()
  end
  local function turn()
    local resumed = sleepers
    sleepers = {}
    for _, thread in ipairs(resumed) do assert(coroutine.resume(thread)) end
  end
  return sleep, turn, steps
end

--- Starts fn in a coroutine; the table fills with its results.
local function start(fn, ...)
  local results = {}
  assert(coroutine.resume(coroutine.create(function(...)
    local got = table.pack(fn(...))
    table.move(got, 1, got.n, 1, results)
    results.n = got.n
  end), ...))
  return results
end

--- A child that appends an event for each line it hears.
local function writer(path)
  local child = support.spawn([[
    local store = assert(keel.open((...), { durability = "off" }))
    say "ready"
    for _ in hear do say(assert(store:append_event { kind = "note" })) end
  ]], { path })
  child:expect "ready"
  return child
end

support.each_store(function(open)
  describe("wait_events", function()
    it("EVENT-5: is true at once when there is something to read", function()
      local store = open()
      assert(store:append_event { kind = "note" })
      assert.is_true(store:wait_events())
      assert.is_true(store:wait_events(nil, { timeout = 0 }))
      local page = assert(store:read_events())
      assert.is_false(store:wait_events(page.cursor, { timeout = 0 }))
      assert(store:append_event { kind = "note" })
      assert.is_true(store:wait_events(page.cursor, {}))
      assert.is_true(store:wait_events(keel.json.decode(keel.json.encode(page.cursor))))
    end)

    it("EVENT-5: times out on time", function()
      local store = open()
      local cursor = caught_up(store)
      for _, timeout in ipairs { 0, 0.001, 0.03 } do
        local began = uv.hrtime()
        assert.is_false(store:wait_events(cursor, { timeout = timeout }))
        assert.is_true((uv.hrtime() - began) / 1e9 >= timeout)
      end
    end)

    it("EVENT-5: wakes for a writer in the same process, on the same handle, through the host's sleep", function()
      local sleep, turn, steps = scheduler()
      local store = open { sleep = sleep }
      local cursor = caught_up(store)
      local first = start(store.wait_events, store, cursor)
      local second = start(store.wait_events, store, cursor, { timeout = 1000 })
      for _ = 1, 20 do turn() end
      assert.same({ {}, {} }, { first, second })
      assert(store:append_event { kind = "note" })
      turn()
      assert.is_true(first[1])
      assert.is_true(second[1])
      for i, seconds in ipairs(steps) do assert.is_true(seconds > 0 and seconds <= 0.01, "step " .. i) end
    end)

    it("EVENT-5: with a sleep, times out on time and never blocks", function()
      local waits = 0
      local store = open { sleep = function(seconds)
        waits = waits + 1
        uv.sleep(math.ceil(seconds * 1000))
      end }
      local began = uv.hrtime()
      assert.is_false(store:wait_events(nil, { timeout = 0.03 }))
      assert.is_true((uv.hrtime() - began) / 1e9 >= 0.03)
      assert.is_true(waits >= 3, waits)
    end)

    it("wakes for the events of runs, and not for what was rolled back", function()
      local sleep, turn = scheduler()
      local store = open { sleep = sleep }
      local woken = start(store.wait_events, store)
      local tx = assert(store:begin())
      assert(tx:put("r", { thread_id = "t" }))
      turn()
      tx:rollback()
      turn()
      assert.same({}, woken)
      tx = assert(store:begin())
      assert(tx:put("r", { thread_id = "t" }))
      turn()
      assert.same({}, woken)
      assert(tx:commit())
      turn()
      assert.is_true(woken[1])
    end)

    it("is busy while the handle has a transaction open, and no operation of one", function()
      local store = open()
      local tx <close> = assert(store:begin())
      local err = support.refused("busy", store:wait_events())
      assert.is_true(err.transient)
      assert.is_nil(tx.wait_events)
    end)

    it("refuses times that are none, and cursors of other stores", function()
      local store, other = open(), support.open ":memory:"
      for _, timeout in ipairs { -1, -0.001, 0 / 0 } do
        support.invalid("timeout", store:wait_events(nil, { timeout = timeout }))
      end
      local err = support.refused("wrong_runtime", store:wait_events(caught_up(other)))
      assert.equal(store:epoch(), err.expected)
      assert.equal(other:epoch(), err.actual)
      for _, cursor in ipairs { {}, { next_event_id = 0, epoch = store:epoch() }, { next_event_id = 1.5, epoch = "x" },
        { next_event_id = 1 } } do
        support.invalid("cursor", store:wait_events(cursor, { timeout = 0 }))
      end
    end)

    it("raises for wrong types, naming the argument, and for a closed store", function()
      local store = open()
      support.raises("cursor", store.wait_events, store, 1)
      support.raises("options", store.wait_events, store, nil, 1)
      support.raises("timeout", store.wait_events, store, nil, { timeout = "1" })
      support.raises("unknown option 'wait'", store.wait_events, store, nil, { wait = 1 })
      store:close()
      support.raises("closed", store.wait_events, store)
    end)

    it("raises when the store is closed while it waits", function()
      local sleep, turn = scheduler()
      local store = open { sleep = sleep }
      local results = start(pcall, store.wait_events, store)
      store:close()
      turn()
      assert.is_false(results[1])
      assert.matches("closed", results[2])
    end)

    it("passes on what the sleep raises", function()
      local store = open { sleep = function() error "no sleep" end }
      support.raises("no sleep", store.wait_events, store)
      support.raises("no sleep", coroutine.wrap(function() store:wait_events() end))
      assert(store:append_event { kind = "note" })
      assert.is_true(store:wait_events())
    end)
  end)
end)

describe("wait_events", function()
  after_each(support.clean_up)

  it("EVENT-5: wakes for a writer in another process, while it blocks", function()
    local path = support.path()
    local child = support.spawn([[
      local store = assert(keel.open((...)))
      local cursor = { next_event_id = 1, epoch = store:epoch() }
      say "ready"
      for i = 1, 3 do
        assert(store:wait_events(cursor))
        local page = assert(store:read_events(cursor))
        for _, event in ipairs(page.events) do say(event.id) end
        cursor = page.cursor
      end
    ]], { path })
    child:expect "ready"
    local store = support.open(path)
    for i = 1, 3 do
      assert(store:append_event { kind = "note" })
      child:expect(tostring(i))
    end
    child:finish()
  end)

  it("EVENT-5: wakes for a writer in another process, while an event loop turns", function()
    local path = support.path()
    local turns, result = 0, nil
    local store = support.open(path, { sleep = function(seconds)
      local me, timer = coroutine.running(), uv.new_timer()
      timer:start(math.max(1, math.floor(seconds * 1000)), 0, function()
        timer:close()
        assert(coroutine.resume(me))
      end)
      coroutine.yield()
    end })
    assert(store:append_event { kind = "first" })
    local child = writer(path)
    local ticker = uv.new_timer()
    ticker:start(1, 1, function()
      turns = turns + 1
      if turns == 20 then child:say "write" end -- a loop that does not turn never gets here
    end)
    assert(coroutine.resume(coroutine.create(function() result = store:wait_events(caught_up(store)) end)))
    assert.is_nil(result)
    assert.is_true(process.turn_until(function() return result end))
    ticker:close()
    child:expect "2"
  end)

  it("EVENT-5: two processes that answer each other a hundred times miss nothing", function()
    local path = support.path()
    local chunk = [[
      local path, own = ...
      local store = assert(keel.open(path, { durability = "off" }))
      local cursor = { next_event_id = 1, epoch = store:epoch() }
      say "ready"
      hear()
      for i = 1, 200 do
        if i % 2 == tonumber(own) then
          assert(store:append_event { kind = "note" } == i)
        else
          cursor.next_event_id = i
          assert(store:wait_events(cursor, { timeout = 20 }))
        end
      end
    ]]
    local pair = { support.spawn(chunk, { path, 0 }), support.spawn(chunk, { path, 1 }) }
    for _, child in ipairs(pair) do child:expect "ready" end
    for _, child in ipairs(pair) do child:say "go" end
    for _, child in ipairs(pair) do child:finish() end
    assert.equal(200, #support.events(support.open(path)))
  end)

  it("waits on a readonly store, and where there is nothing yet", function()
    local path = support.path()
    support.open(path)
    local readonly = support.open(path, { readonly = true })
    assert.is_false(readonly:wait_events(nil, { timeout = 0.002 }))
    local child = writer(path)
    child:say "write"
    assert.is_true(readonly:wait_events(nil, { timeout = 20 }))
    local cursor = caught_up(readonly)
    child:say "write"
    assert.is_true(readonly:wait_events(cursor, { timeout = 20 }))
  end)

  it("without a sleep or a timeout, refuses to wait for ever on a store in memory", function()
    support.invalid("timeout", support.open(":memory:"):wait_events())
  end)

  it("ends when the waiting coroutine is forgotten", function()
    local path = support.path()
    local store = support.open(path, { sleep = coroutine.yield })
    assert(store:append_event { kind = "note" })
    -- The descriptors of this process on the file that wakes: a writer's, and one for each that waits.
    local function descriptors()
      local count = 0
      for name in lfs.dir "/proc/self/fd" do
        local target = lfs.symlinkattributes("/proc/self/fd/" .. name, "target")
        if target == path .. "-wake" then count = count + 1 end
      end
      return count
    end
    start(store.wait_events, store, caught_up(store))
    assert.equal(2, descriptors())
    collectgarbage()
    collectgarbage()
    assert.equal(1, descriptors())
  end)
end)
