--- A thread held for something that is no run.
local support = require "support"

support.each_store(function(open)
  describe("reserve", function()
    local clock, store, manager
    before_each(function()
      clock = support.clock()
      store = open { clock = clock.read, monotonic = clock.read, durability = "off" }
      manager = support.manager(store)
    end)

    --- Calls inside() while thread "t" is held.
    local function while_held(inside, kind)
      return manager:reserve("t", kind or "checkpoint_write", inside)
    end

    it("RUN-33: gives what fn returns, all of it", function()
      assert.same({ 3, "a", nil, false }, { select("#", while_held(function() return "a", nil, false end)),
        while_held(function() return "a", nil, false end) })
      assert.equal(0, select("#", while_held(function() end)))
    end)

    for _, strategy in ipairs { "reject", "interrupt", "rollback", "enqueue", "reuse", "replace_pending", "debounce",
      "limit", "preempt", "allow" } do
      it("RUN-33: guarded create is refused meanwhile, " .. strategy .. " too", function()
        while_held(function()
          local err = support.refused("conflict",
            manager:create_or_reject("t", { multitask_strategy = strategy, fingerprint = "f", priority = 9 }))
          assert.equal("t", err.thread_id)
          assert.equal("checkpoint_write", store:get(err.run_id).operation_kind)
          assert.equal("running", store:get(err.run_id).status)
        end)
        assert.truthy((manager:create_or_reject("t", { multitask_strategy = strategy })))
      end)
    end

    it("RUN-33: a strategy of the user's own is not even asked", function()
      while_held(function()
        support.refused("conflict", manager:create_or_reject("t", { multitask_strategy = error }))
      end)
    end)

    it("RUN-33: another manager's guarded create is refused as well", function()
      while_held(function()
        support.refused("conflict", support.manager(store):create_or_reject "t")
      end)
    end)

    it("RUN-33: create is not guarded, and its run starts", function()
      while_held(function()
        local run = assert(manager:create "t")
        assert.equal("started", manager:try_start(run.run_id))
      end)
    end)

    it("RUN-33: other threads are free", function()
      while_held(function() assert.truthy((manager:create_or_reject "u")) end)
    end)

    it("RUN-33: a second reservation of the thread is refused, and its fn not called", function()
      while_held(function()
        local called = false
        local err = support.refused("conflict", manager:reserve("t", "delete", function() called = true end))
        assert.equal("t", err.thread_id)
        assert.is_false(called)
      end)
    end)

    it("RUN-33: a thread with a run in flight is refused, and fn not called", function()
      local run, called = assert(manager:create "t"), false
      local err = support.refused("conflict", while_held(function() called = true end))
      assert.same({ "t", run.run_id, false }, { err.thread_id, err.run_id, called })
      assert(manager:set_status(run.run_id, "success"))
      assert.is_true(while_held(function() return true end))
    end)

    it("RUN-33: a thread whose stopped run has not come to rest is refused, until it is settled", function()
      local run = assert(manager:create "t")
      assert.equal("started", manager:try_start(run.run_id))
      assert(manager:cancel(run.run_id))
      local err = support.refused("conflict", while_held(error))
      assert.equal(run.run_id, err.run_id)
      assert.is_true(manager:settle(run.run_id))
      assert.equal("held", while_held(function() return "held" end))
    end)

    it("RUN-33: nothing is in flight or listed, neither meanwhile nor afterwards", function()
      local function check()
        assert.is_false((manager:has_inflight "t"))
        assert.same({}, manager:list_by_thread "t")
      end
      while_held(check)
      check()
      assert.same({}, store:list_inflight { thread_id = "t" })
    end)

    it("RUN-33: an error in fn passes through as it is, and the reservation is gone", function()
      for _, problem in ipairs { "oh no", { code = 42 }, false, "not UTF-8: \xff" } do
        local ok, raised = pcall(while_held, function() error(problem, 0) end)
        assert.is_false(ok)
        assert.is_true(rawequal(problem, raised))
        assert.same({}, store:list_inflight { thread_id = "t" })
      end
      assert.truthy((manager:create_or_reject "t"))
    end)

    it("RUN-33: leaves events like a run, with its kind", function()
      while_held(function() end, "delete")
      pcall(while_held, function() error("oh no", 0) end)
      local events = support.events(store, { thread_id = "t" })
      assert.same({ "run_created", "run_finished", "run_created", "run_finished" }, support.pluck(events, "kind"))
      assert.same({ "delete", "success" }, { events[1].data.operation_kind, events[2].data.status })
      assert.same({ "checkpoint_write", "error", "oh no" },
        { events[3].data.operation_kind, events[4].data.status, events[4].data.error })
    end)

    it("RUN-33: fn may yield, and the thread is held until it has ended", function()
      local work = coroutine.wrap(function() return while_held(function() return coroutine.yield "held" end) end)
      assert.equal("held", work())
      support.refused("conflict", manager:create_or_reject "t")
      assert.equal("done", work "done")
      assert.truthy((manager:create_or_reject "t"))
    end)

    it("RUN-33: a reservation that could not be ended is ended at the next tick", function()
      local overrides = {}
      manager = support.manager((support.wrap(store, overrides)), { log = support.log() })
      overrides.update_status = support.fail(1, support.broken())
      assert.equal("result", while_held(function() return "result" end))
      support.refused("conflict", manager:create_or_reject "t")
      assert(manager:tick())
      assert.truthy((manager:create_or_reject "t"))
    end)

    it("RUN-33: one that was taken over meanwhile is let go of, once and for all", function()
      local log, lines = support.log()
      local wrapped, calls = support.wrap(store)
      manager = support.manager(wrapped, { log = log })
      while_held(function()
        local row = store:list_inflight({ thread_id = "t" })[1]
        assert(store:put(row.run_id, { session_id = require("keel").null })) -- as if its session were dead
        assert.truthy((support.manager(store):create_or_reject "t"))
      end)
      local before = calls.update_status
      assert(manager:tick())
      assert.equal(before, calls.update_status)
      for _, line in ipairs(lines) do assert.not_equal("error", line.level) end
    end)

    it("RUN-33: with a lease it is renewed by heartbeats, and lost without them", function()
      manager = support.manager(store, { lease_ttl = 10 })
      local other = support.manager(support.wrap(store, { session_id = function() return 999 end }))
      while_held(function()
        for _ = 1, 4 do
          clock.advance(6)
          assert(manager:heartbeat())
        end
        support.refused("conflict", other:create_or_reject "t")
        clock.advance(11)
        assert.truthy((other:create_or_reject "t"))
      end)
    end)

    it("RUN-33: if it cannot be written, the error comes back and fn is not called", function()
      for _, step in ipairs { "put", "commit" } do
        local called = false
        manager = support.manager((support.wrap(store, { tx = { [step] = support.fail(9, support.broken()) } })))
        support.refused("store_corrupt", while_held(function() called = true end))
        assert.is_false(called)
        assert.equal(0, #support.events(store))
      end
    end)

    it("RUN-33: a dead run on the thread is recovered first", function()
      assert(store:put("dead", { thread_id = "t", status = "running" })) -- nobody's
      assert.is_true(while_held(function() return true end))
      assert.equal("error", store:get("dead").status)
    end)

    it("RUN-33: an unknown kind is invalid_request, a run is no kind, and fn is not called", function()
      for _, kind in ipairs { "nap", "run", "" } do
        support.invalid("kind", manager:reserve("t", kind, error))
      end
      support.invalid("thread_id", manager:reserve("", "delete", error))
      assert.equal(0, #support.events(store))
    end)

    it("raises for wrong types, naming the argument", function()
      support.raises("#1", manager.reserve, manager, nil, "delete", error)
      support.raises("#2", manager.reserve, manager, "t", nil, error)
      support.raises("#3", manager.reserve, manager, "t", "delete", "fn")
    end)
  end)
end)

describe("[#sqlite] A process that dies while it holds a thread", function()
  after_each(support.clean_up)

  local function dead_holder(path)
    local child = support.spawn([[
      local manager = keel.run_manager { store = assert(keel.open((...))) }
      manager:reserve("t", "artifact_write", function() say "held" hear() end)
    ]], { path })
    child:expect "held"
    return child
  end

  it("RUN-33: loses its reservation: the next admission takes it over", function()
    local path = support.path()
    local store = support.open(path)
    local manager = support.manager(store)
    local child = dead_holder(path)
    local held = support.refused("conflict", manager:create_or_reject "t").run_id
    child:kill()
    assert.truthy((manager:create_or_reject "t"))
    assert.equal("interrupted", store:get(held).status)
    assert.same({ "run_created", "run_finished", "run_created" },
      support.pluck(support.events(store, { thread_id = "t" }), "kind"))
  end)

  it("RUN-33: loses it to the next reservation as well", function()
    local path = support.path()
    local manager = support.manager(support.open(path))
    local child = dead_holder(path)
    support.refused("conflict", manager:reserve("t", "delete", error))
    child:kill()
    assert.equal("mine", manager:reserve("t", "delete", function() return "mine" end))
  end)
end)
