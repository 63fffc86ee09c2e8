--- Executors that wait for places: nobody ticks in these specs, so what starts was told of.
local executors = require "support.executor"
local keel = require "keel"
local support = require "support"
local wrap = require "support.wrap"

describe("[#sqlite] An executor whose runs wait for places", function()
  local path, theirs, ours, ended, hold

  before_each(function()
    path = support.path()
    theirs, ours = support.open(path, { durability = "off" }), support.open(path, { durability = "off" })
    ended, hold = {}, true
  end)
  after_each(executors.clean_up)
  after_each(support.clean_up)

  -- Handlers that go on for as long as `hold` is true.
  local function started(store)
    local manager = support.manager(store)
    local executor = executors.started(manager, function(context)
      while hold do context.sleep(0.001) end
      ended[#ended + 1] = context.run.run_id
    end, { interval = 3600, concurrency = 2 })
    return manager, executor
  end

  local GPU = { { name = "gpu", max = 1 } }

  for how, claimable in pairs { ["of their own"] = false, ["that anybody may claim"] = true } do
    it("GATE-4: starts the next when a run of another one has left its place, on any thread; runs " .. how, function()
      local first = started(theirs)
      local holder = assert(first:create("a", { slots = GPU, claimable = claimable or nil })).run_id
      executors.await_status(ours, holder, "running")
      local second = started(ours)
      local waiting = assert(second:create("b", { slots = GPU, claimable = claimable or nil })).run_id
      executors.await(function() return ours:gate(waiting).gate == "slot" end)
      hold = false
      executors.await_status(ours, { holder, waiting }, "success")
      assert.same({ holder, waiting }, ended)
    end)

    it("GATE-8: starts the next when its rate has room again; runs " .. how, function()
      hold = false
      local manager, ids = started(ours), {}
      for i = 1, 3 do
        ids[i] = assert(manager:create("t" .. i, { rates = { { name = "mail", max = 1, per = 0.1 } },
          claimable = claimable or nil })).run_id
      end
      executors.await_status(theirs, ids, "success")
    end)

    it("GATE-7: starts what waits when a pause is over; runs " .. how, function()
      hold = false
      local other = support.manager(theirs)
      assert(other:pause "*")
      local manager = started(ours)
      local run = assert(manager:create("t", { claimable = claimable or nil })).run_id
      executors.await(function() return ours:gate(run).gate == "paused" end)
      assert(other:resume "*")
      executors.await_status(theirs, run, "success")
    end)
  end

  local function enqueue(manager, thread_id, options)
    options.multitask_strategy = "enqueue"
    return assert(manager:create_or_reject(thread_id, options)).run_id
  end

  it("FAMILY-1: starts what stands behind one that is after a run of another thread", function()
    hold = false
    local manager = started(ours)
    local far = assert(manager:create("far", { scheduled_at = 3600 })).run_id
    local first = enqueue(manager, "t", { after = { far } })
    executors.await(function() return theirs:gate(first).gate == "after" end)
    local behind = enqueue(manager, "t", {})
    local source = assert(manager:create("far", { slots = GPU, after = { behind } })).run_id
    local last = enqueue(manager, "t", { slots = GPU, after = { { run_id = source, on = "final" } } })
    executors.await_status(theirs, { behind, source, last }, "success")
    assert.equal("pending", theirs:get(first).status)
  end)

  -- Two places on the thread, and an order: who is behind may start when who is ahead has started.
  local function limited(manager, options)
    options.multitask_strategy, options.strategy_options = "limit", { max = 2 }
    return assert(manager:create_or_reject("t", options)).run_id
  end
  -- It has looked at all there is, and found nothing to start.
  local function await_rest(executor)
    executors.await(function()
      local cursor = executor._watch._cursor
      return cursor and cursor.next_event_id > theirs:event_high_water() and not executor._queue:has_ready()
        and not executor._claims:is_worth_it()
    end, "its rest")
  end

  for how, claimable in pairs { ["of its own"] = false, ["that anybody may claim"] = true } do
    it("GATE-4: starts a run " .. how .. " behind one of another process when that has started", function()
      local other = support.manager(theirs)
      local ahead = limited(other, {})
      local manager, executor = started(ours)
      local behind = limited(manager, { claimable = claimable or nil })
      await_rest(executor)
      assert.equal("queue", theirs:gate(behind).gate)
      assert.equal("started", other:try_start(ahead))
      executors.await_status(theirs, { ahead, behind }, "running")
    end)
  end

  it("GATE-4: starts what anybody may claim behind a run of its own when it has started that", function()
    local other, manager, executor = support.manager(theirs), started(ours)
    local holder = assert(other:create("a", { slots = GPU })).run_id
    assert.equal("started", other:try_start(holder))
    local ahead = limited(manager, { slots = GPU })
    assert(theirs:put("behind", { thread_id = "t", concurrency = 2, strict = true, claimable = true }))
    await_rest(executor)
    assert.equal("queue", theirs:gate("behind").gate)
    assert(other:set_status(holder, "success"))
    executors.await_status(theirs, { ahead, "behind" }, "running")
  end)

  it("GATE-4: starts a run of its own behind one that it has claimed", function()
    local other, manager, executor = support.manager(theirs), started(ours)
    assert(other:pause "*")
    local ahead = limited(manager, { claimable = true })
    local behind = limited(manager, {})
    await_rest(executor)
    assert.equal("queue", theirs:gate(behind).gate)
    assert(other:resume "*")
    executors.await_status(theirs, { ahead, behind }, "running")
  end)

  for how, after in pairs {
    ["after a run"] = function(run_id) return run_id end,
    ["after a batch"] = function() return { batch_id = "B" } end,
  } do
    it("GATE-4: starts its own that is " .. how .. " of another process when that has ended, on any thread", function()
      hold = false
      local other = support.manager(theirs)
      local a = assert(other:create("a", { batch_id = "B" })).run_id
      local b = assert(other:create("b", { batch_id = "B" })).run_id
      local manager = started(ours)
      local run = assert(manager:create("c", { after = { after(a), b } })).run_id
      executors.await(function() return theirs:gate(run).gate == "after" end)
      assert(other:set_status(b, "success"))
      assert(other:set_status(a, "success"))
      executors.await_status(theirs, run, "success")
    end)
  end

  it("GATE-4: starts its own that is after another of its own when that has ended", function()
    hold = false
    local manager = started(ours)
    local a = assert(manager:create("a", {})).run_id
    local b = assert(manager:create("b", { after = { a } })).run_id
    local c = assert(manager:create("c", { after = { { run_id = b, on = "final" } } })).run_id
    executors.await_status(theirs, { a, b, c }, "success")
    assert.same({ a, b, c }, ended)
  end)

  it("GATE-4: leaves the store alone when the end of a run lets nothing of its own start", function()
    hold = false
    local calls
    ours, calls = wrap.wrap(ours)
    local manager, other = support.manager(ours), support.manager(theirs)
    local executor = executors.started(manager, { h = function() end }, { interval = 3600, concurrency = 2 })
    assert(other:set_limit("gpu", { max = 1 }))
    local mine = assert(manager:create("mine", { slots = { { name = "net", max = 1 } }, handler = "h",
      after = { assert(other:create("y", { scheduled_at = 3600 })).run_id } })).run_id
    local function has_read_all()
      local cursor = executor._watch._cursor
      return cursor and cursor.next_event_id > theirs:event_high_water()
    end
    local function written() return calls.claim_next + calls.start + calls.begin end
    local function spent(fn)
      executors.await(function() return has_read_all() and not executor._queue:has_ready() end, "the log")
      local before = written()
      fn()
      executors.await(function() return has_read_all() and not executor._queue:has_ready() end, "the log")
      return written() - before
    end
    local holder = assert(other:create("x", { slots = GPU, handler = "g" }))
    assert.equal("started", other:try_start(holder.run_id))
    local waiting = assert(other:create("z", { slots = GPU, handler = "g", claimable = true })).run_id
    executors.await(function() return theirs:gate(mine).gate == "after" end)
    assert.equal(0, spent(function() assert(other:set_status(holder.run_id, "success")) end))
    assert.equal(waiting, assert(other:claim_next { handlers = { "g" } }).run_id)
    assert.equal(0, spent(function() assert(other:set_status(waiting, "success")) end))
    local events = support.events(theirs, { run_id = holder.run_id })
    assert.same({ handlers = { "g" }, sessions = keel.array {} }, events[#events].data.ready)
    assert.same({ "gpu" }, events[#events].data.freed)
  end)
end)
