--- What a strategy may decide about waiting and replacing, and what it may not.
local support = require "support"

support.each_store(function(open)
  local function decided(decision)
    return function(request, inflight)
      return type(decision) == "function" and decision(request, inflight) or decision
    end
  end

  describe("POLICY-8: a decision", function()
    local first = function(_, inflight) return inflight[1] end

    --- name -> { the decision, a word that says what is wrong }
    local MALFORMED = {
      ["a concurrency of 0"] = { { admit = true, concurrency = 0 }, "concurrency" },
      ["a negative concurrency"] = { { admit = true, concurrency = -1 }, "concurrency" },
      ["a concurrency of 1.5"] = { { admit = true, concurrency = 1.5 }, "concurrency" },
      ["an endless concurrency"] = { { admit = true, concurrency = math.huge }, "concurrency" },
      ["a concurrency that is a text"] = { { admit = true, concurrency = "x" }, "concurrency" },
      ["a concurrency that is NaN"] = { { admit = true, concurrency = 0 / 0 }, "concurrency" },
      ["a negative delay"] = { { admit = true, delay = -1 }, "delay" },
      ["a delay that is NaN"] = { { admit = true, delay = 0 / 0 }, "delay" },
      ["an endless delay"] = { { admit = true, delay = math.huge }, "delay" },
      ["a huge delay"] = { { admit = true, delay = 1e18 }, "delay" },
      ["a delay that is a text"] = { { admit = true, delay = "soon" }, "delay" },
      ["a negative within"] = { { admit = true, within = -0.001 }, "within" },
      ["a within that is NaN"] = { { admit = true, within = 0 / 0 }, "within" },
      ["a within that is a text"] = { { admit = true, within = "soon" }, "within" },
      ["a position of 0"] = { { admit = false, position = 0 }, "position" },
      ["a position of 2.5"] = { { admit = false, position = 2.5 }, "position" },
      ["a position that is a text"] = { { admit = false, position = "last" }, "position" },
      ["a reason that is no text"] = { { admit = false, reason = 42 }, "reason" },
      ["a reason in another encoding"] = { { admit = true, reason = "\xe9t\xe9" }, "UTF-8" },
      ["something by a metamethod"] = { setmetatable({}, { __index = { admit = true }, __pairs = error }), "admit" },
      ["a list that has no end"] = { { admit = true, after = setmetatable({}, { __len = error, __pairs = error }),
        cancel = setmetatable({ 1 }, { __index = error, __len = function() return math.huge end }) }, "cancel" },
      ["a list whose length is an error"] = { { admit = true, cancel = setmetatable({ 1 }, { __len = error }) },
        "cancel" },
      ["a list with a hole"] = { function(_, inflight)
        return { admit = true, cancel = { inflight[1], nil, inflight[2] } }
      end, "holes" },
      ["to replace an unknown run"] = { { admit = true, replace = "nobody" }, "replace" },
      ["to replace a number"] = { { admit = true, replace = 42 }, "replace" },
      ["to replace nothing, with false"] = { { admit = true, replace = false }, "replace" },
      ["to replace a run that has started"] = { function(_, inflight)
        return { admit = true, replace = inflight[2] }
      end, "replace" },
      ["to replace for somebody it does not admit"] = { function(...)
        return { admit = false, replace = first(...) }
      end, "replace" },
      ["a concurrency for somebody it does not admit"] = { { admit = false, concurrency = 1 }, "concurrency" },
      ["a delay for somebody it does not admit"] = { { admit = false, delay = 1 }, "delay" },
      ["a within for somebody it does not admit"] = { { admit = false, within = 1 }, "within" },
      ["an after for somebody it does not admit"] = { function(...)
        return { admit = false, after = { first(...) } }
      end, "after" },
      ["an after that is a run"] = { function(...) return { admit = true, after = first(...) } end, "after" },
      ["an after that is a text"] = { { admit = true, after = "all" }, "after" },
      ["nothing about admitting"] = { { concurrency = 1 }, "admit" },
    }

    for what, case in pairs(MALFORMED) do
      it("that says " .. what .. " is policy_failed, saying what is wrong, and nothing changed", function()
        local store, manager = support.managed(open)
        local pending, running = assert(manager:create "t"), assert(manager:create "t")
        assert.equal("started", manager:try_start(running.run_id))
        local events = #support.events(store)
        local err = support.refused("policy_failed",
          manager:create_or_reject("t", { multitask_strategy = decided(case[1]) }))
        assert.truthy(err.reason:find(case[2], 1, true), err.reason)
        assert.equal("custom", err.policy)
        assert.same({ "pending", "running" }, { pending.status, running.status })
        assert.same({ false, false }, { pending.abort_event:is_set(), running.abort_event:is_set() })
        assert.same({ "pending", "running" },
          { store:get(pending.run_id).status, store:get(running.run_id).status })
        assert.equal(events, #support.events(store))
        assert.equal(2, #store:list_by_thread "t")
      end)
    end
  end)

  describe("POLICY-2: a strategy of the user's own", function()
    local clock, store, manager
    before_each(function()
      clock = support.clock()
      store = open { clock = clock.read, monotonic = clock.read, durability = "off" }
      manager = support.manager(store)
    end)

    local function create(decision)
      return assert(manager:create_or_reject("t", { multitask_strategy = decided(decision) }))
    end

    it("may bound how many run", function()
      for i = 1, 3 do
        local run = create { admit = true, concurrency = i == 1 and 4 / 2 or 2 }
        assert.equal(i < 3 and "started" or "waiting", manager:try_start(run.run_id))
      end
    end)

    it("may put a start off", function()
      local run = create { admit = true, delay = 0.5 }
      assert.equal("2026-01-01T00:00:00.500000+00:00", run.scheduled_at)
      assert.equal("waiting", manager:try_start(run.run_id))
      clock.advance(0.5)
      assert.equal("started", manager:try_start(run.run_id))
    end)

    it("sees how much longer a run may be put off", function()
      local seen
      create { admit = true, delay = 1, within = 5 }
      clock.advance(2)
      create(function(_, inflight)
        seen = inflight[1].start_within
        return { admit = true }
      end)
      assert.equal(3, seen)
      clock.advance(10)
      create(function(_, inflight)
        seen = inflight[1].start_within
        return { admit = true }
      end)
      assert.equal(0, seen)
    end)

    it("sees how old runs are, how long they have waited, and for how long they run", function()
      local running = create { admit = true, delay = 1 }
      create { admit = true, concurrency = 1 }
      clock.advance(4)
      assert.equal("started", manager:try_start(running.run_id))
      clock.advance(5)
      local seen = {}
      create(function(_, inflight)
        for i, run in ipairs(inflight) do seen[i] = { run.age, run.waited, run.running_for } end
        return { admit = true }
      end)
      assert.same({ { 9, 3, 5 }, { 9, 9 } }, seen)
    end)

    it("may replace a pending run, by record or by id", function()
      local one = create { admit = true }
      local two = create(function(_, inflight) return { admit = true, replace = inflight[1] } end)
      local three = create(function(_, inflight) return { admit = true, replace = inflight[1].run_id } end)
      assert.same({ two.run_id, three.run_id, "superseded" }, { one.successor, two.successor, two.stop_reason })
    end)

    it("may name the same run to cancel and to replace: it is superseded", function()
      local one = create { admit = true }
      local two = create(function(_, inflight)
        return { admit = true, replace = inflight[1], cancel = "all" }
      end)
      for _, run in ipairs { one, store:get(one.run_id) } do
        assert.same({ "interrupted", "superseded", two.run_id }, { run.status, run.stop_reason, run.successor })
      end
      assert.is_true(one.abort_event:is_set())
    end)

    it("may give a refusal a position", function()
      create { admit = true }
      local err = support.refused("conflict", manager:create_or_reject("t", {
        multitask_strategy = decided { admit = false, position = 7 },
      }))
      assert.equal(7, err.position)
    end)

    it("may combine a delay, a queue and runs to wait for", function()
      local one = create { admit = true }
      local two = create(function(_, inflight)
        return { admit = true, delay = 10, concurrency = 1, after = inflight }
      end)
      assert.equal("delay", store:gate(two.run_id).gate)
      clock.advance(10)
      assert.equal("after", store:gate(two.run_id).gate)
      assert(manager:set_status(one.run_id, "success"))
      assert.equal("started", manager:try_start(two.run_id))
    end)

    it("that decides otherwise when the transaction is tried again leaves nothing of its first decision", function()
      local overrides = { tx = {} }
      manager = support.manager((support.wrap(store, overrides)))
      local blocker = create { admit = true }
      overrides.tx.commit = support.fail(1, support.busy())
      local tries = 0
      local run = create(function(_, inflight)
        tries = tries + 1
        if tries > 1 then return { admit = true } end
        return { admit = true, delay = 60, within = 90, concurrency = 1, after = inflight }
      end)
      assert.is_true(tries == 2 or tries == 3) -- on a server, once more: what waits for runs has the whole store
      local row = store:get(run.run_id)
      assert.same({}, { row.scheduled_at, row.start_by, row.concurrency, row.waits_for })
      assert.equal("started", manager:try_start(run.run_id))
      assert.equal("pending", blocker.status)
    end)
  end)
end)
