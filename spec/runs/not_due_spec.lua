--- Runs that are not due: they hold nobody up, unless the order is strict.
local support = require "support"

support.each_store(function(open)
  describe("what is not due", function()
    local clock, manager, store
    before_each(function() store, manager, clock = support.managed(open) end)

    local function claimable(strategy, options)
      return assert(manager:create_or_reject("t", { multitask_strategy = strategy, strategy_options = options,
        claimable = true }))
    end

    local function fail(run, delay)
      assert(manager:requeue(run.run_id, { delay = delay }))
    end

    it("F-20: a retry that is put off lets the others go first, and has its turn again when it is due", function()
      local first, second = claimable("limit", { max = 1 }), claimable("limit", { max = 1 })
      fail(assert(manager:claim_next()), 300)
      assert.equal(second.run_id, assert(manager:claim_next()).run_id)
      assert(manager:set_status(second.run_id, "success"))
      local third = claimable("limit", { max = 1 })
      clock.advance(300)
      assert.equal(first.run_id, assert(manager:claim_next()).run_id)
      assert.is_nil((manager:claim_next()))
      assert(manager:set_status(first.run_id, "success"))
      assert.equal(third.run_id, assert(manager:claim_next()).run_id)
    end)

    it("F-20: a first start in the future holds nobody up, owned or claimable", function()
      assert(manager:create_or_reject("t", { multitask_strategy = "enqueue", scheduled_at = "2099-01-01T00:00:00Z" }))
      local owned = assert(manager:create_or_reject("t", { multitask_strategy = "enqueue" }))
      assert.equal("started", manager:try_start(owned.run_id))
      assert(manager:set_status(owned.run_id, "success"))
      local strict = claimable("enqueue", { strict = true })
      assert.equal(strict.run_id, assert(manager:claim_next()).run_id)
    end)

    it("F-20: with strict the order holds behind a retry", function()
      local first, second = claimable("enqueue", { strict = true }), claimable("enqueue", { strict = true })
      local loose = claimable "enqueue"
      fail(assert(manager:claim_next()), 300)
      assert.is_nil((manager:claim_next()))
      local gate = store:gate(second.run_id)
      assert.same({ "queue", first.run_id }, { gate.gate, gate.run_id })
      clock.advance(300)
      for _, run in ipairs { first, second, loose } do
        assert.equal(run.run_id, assert(manager:claim_next()).run_id)
        assert(manager:set_status(run.run_id, "success"))
      end
    end)

    it("F-20: with strict the retry may also be cancelled, and the next goes on", function()
      local first, second = claimable("enqueue", { strict = true }), claimable("enqueue", { strict = true })
      fail(assert(manager:claim_next()), 300)
      assert.is_nil((manager:claim_next()))
      assert(manager:cancel(first.run_id))
      assert.equal(second.run_id, assert(manager:claim_next()).run_id)
    end)

    it("may be written to when it has become due and nobody has looked, and is still claimed", function()
      assert(store:put("late", { thread_id = "t", claimable = true, scheduled_at = 10 }))
      clock.advance(20)
      assert(store:put("late", { priority = 0 }))
      assert.same({}, store:verify())
      assert.equal("late", assert(store:claim_next {}).run_id)
    end)

    it("is put off again when the clock is set back", function()
      assert(store:put("early", { thread_id = "t", claimable = true, scheduled_at = 10, handler = "h" }))
      assert(store:put("plain", { thread_id = "t", claimable = true, scheduled_at = 10 }))
      assert(store:put("first", { thread_id = "u", claimable = true, priority = 1 }))
      clock.advance(20)
      assert.equal("first", assert(store:claim_next {}).run_id)
      clock.advance(-15)
      assert(store:put("second", { thread_id = "u", claimable = true }))
      assert.equal("second", assert(store:claim_next {}).run_id)
      assert.is_nil((store:claim_next {}))
      assert.same({}, store:verify())
      clock.advance(10)
      assert.equal("early", assert(store:claim_next {}).run_id)
      assert.equal("plain", assert(store:claim_next {}).run_id)
    end)

    it("may be written to when the clock was set back, and stops no claim", function()
      assert(store:put("early", { thread_id = "t", claimable = true, scheduled_at = 10 }))
      assert(store:put("first", { thread_id = "u", claimable = true, priority = 1 }))
      clock.advance(20)
      assert.equal("first", assert(store:claim_next {}).run_id)
      clock.advance(-15)
      assert(store:put("early", { priority = 0 }))
      assert.same({}, store:verify())
      clock.advance(10)
      assert.equal("early", assert(store:claim_next {}).run_id)
    end)

    -- A run of a thread that starts in ten seconds, and is early again after somebody has looked at it when it was due.
    local function early(options)
      options.multitask_strategy, options.scheduled_at = "enqueue", 10
      local run = assert(manager:create_or_reject("t", options))
      assert(store:put("first", { thread_id = "u", claimable = true, priority = 1 }))
      return run, function()
        clock.advance(20)
        assert.equal("first", assert(store:claim_next {}).run_id)
        clock.advance(-15)
      end
    end

    it("F-20: what a clock that was set back makes early holds nobody up who starts by himself", function()
      local run, set_back = early {}
      local owned = assert(manager:create_or_reject("t", { multitask_strategy = "enqueue" }))
      set_back()
      assert.equal("waiting", manager:try_start(run.run_id))
      assert.equal("started", manager:try_start(owned.run_id))
      assert(manager:set_status(owned.run_id, "success"))
      clock.advance(10)
      assert.equal("started", manager:try_start(run.run_id))
    end)

    it("F-20: what a clock that was set back makes early holds nobody up who is claimed", function()
      for _, asked in ipairs { {}, { threads = { "t" } } } do
        for _, is_claimable in ipairs { true, false } do
          store = open { durability = "off", clock = clock.read }
          manager = support.manager(store)
          local run, set_back = early { claimable = is_claimable }
          local second = claimable "enqueue"
          set_back()
          assert.equal(second.run_id, assert(manager:claim_next(asked)).run_id)
          assert.is_nil((manager:claim_next(asked)))
          assert.same({}, store:verify())
          assert(manager:set_status(second.run_id, "success"))
          clock.advance(10)
          if is_claimable then
            assert.equal(run.run_id, assert(manager:claim_next(asked)).run_id)
          else
            assert.equal("started", manager:try_start(run.run_id))
          end
        end
      end
    end)

    it("F-20: behind an owned run that a clock makes early the next is claimed once its owner has asked", function()
      local run = early {}
      local second = claimable "enqueue"
      clock.advance(20)
      assert.equal("first", assert(store:claim_next {}).run_id)
      assert.is_nil((store:claim_next {}))
      clock.advance(-15)
      assert.equal("waiting", manager:try_start(run.run_id))
      assert.equal(second.run_id, assert(store:claim_next {}).run_id)
      assert.same({}, store:verify())
    end)

    it("F-20: with strict the order holds behind a retry that a clock makes early", function()
      local first, second = claimable("enqueue", { strict = true }), claimable("enqueue", { strict = true })
      fail(assert(manager:claim_next()), 300)
      assert(store:put("first", { thread_id = "u", claimable = true, priority = 1 }))
      clock.advance(301)
      assert.equal("first", assert(store:claim_next {}).run_id)
      clock.advance(-10)
      local gate = store:gate(second.run_id)
      assert.same({ "queue", first.run_id }, { gate.gate, gate.run_id })
      assert.is_nil((manager:claim_next()))
      clock.advance(10)
      assert.equal(first.run_id, assert(manager:claim_next()).run_id)
    end)

    it("F-23: debounce starts nothing beside the run that still goes", function()
      local first = claimable("debounce", { wait = 1 })
      clock.advance(1)
      assert.equal(first.run_id, assert(manager:claim_next()).run_id)
      local second = claimable("debounce", { wait = 1 })
      clock.advance(1)
      assert.is_nil((manager:claim_next()))
      assert(manager:set_status(first.run_id, "success"))
      assert.equal(second.run_id, assert(manager:claim_next()).run_id)
    end)
  end)
end)
