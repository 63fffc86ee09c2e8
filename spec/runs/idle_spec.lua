--- Admission to an idle thread, by a strategy that says what it decides there.
local support = require "support"

support.each_store(function(open)
  describe("a strategy that says what it decides on an idle thread", function()
    local store, asked, own
    before_each(function()
      store, asked = open { durability = "off" }, 0
      own = { idle = { admit = true, concurrency = 2, reason = "nobody is here" }, decide = function()
        asked = asked + 1
        return { admit = asked < 3, concurrency = 2 }
      end }
    end)

    local function created(run) return support.events(store, { run_id = run.run_id })[1].data end

    it("is not asked there, only on a busy one", function()
      local manager = support.manager(store, { strategies = { own = own } })
      local first, how = manager:create_or_reject("t", { multitask_strategy = "own" })
      assert.same({ "created", 0, 2 }, { how, asked, first.concurrency })
      assert(manager:create_or_reject("t", { multitask_strategy = "own" }))
      assert.equal(1, asked)
      assert(manager:create_or_reject("u", { multitask_strategy = own, metadata = { k = 1 } }))
      assert.equal(1, asked)
      assert.same({}, store:verify())
    end)

    it("is named by the event, with its version and reason, in one commit", function()
      local manager = support.manager(store, { strategies = { own = own } })
      local first = assert(manager:create_or_reject("t", { multitask_strategy = "own" }))
      local second = assert(manager:create_or_reject("t", { multitask_strategy = "own" }))
      local data = created(first)
      assert.same({ "own", "nobody is here" }, { data.strategy, data.reason })
      assert.equal(created(second).strategy_version, data.strategy_version)
      assert.equal(2, #support.events(store))
    end)

    it("is asked where it may delay: that is more than one call can write", function()
      own.idle.delay = 5
      local manager = support.manager(store)
      local run = assert(manager:create_or_reject("t", { multitask_strategy = own }))
      assert.is_string(run.scheduled_at)
      assert.equal(0, asked)
    end)

    it("is refused at once when that decision is none, on a busy thread as well", function()
      own.idle = { admit = "perhaps" }
      local manager = support.manager(store)
      assert(manager:create "t")
      support.raises("'idle' that is no decision: admit must be a boolean", function()
        manager:create_or_reject("t", { multitask_strategy = own })
      end)
      assert.equal(1, #support.events(store))
    end)

    it("must be a table with a function", function()
      local manager = support.manager(store)
      assert.error_matches(function() manager:create_or_reject("t", { multitask_strategy = { idle = {} } }) end,
        "multitask_strategy")
    end)

    it("counts what is finalizing as busy", function()
      local manager = support.manager(store)
      local run = assert(manager:create_or_reject("t", { multitask_strategy = "enqueue" }))
      assert.equal("started", manager:try_start(run.run_id))
      assert(manager:cancel(run.run_id))
      assert.is_true(run.finalizing)
      assert.is_false((store:admit("new", { thread_id = "t" })))
      assert(manager:settle(run.run_id))
      assert.is_true((store:admit("new", { thread_id = "t" })))
      assert.is_false((store:admit("newer", { thread_id = "t" })))
    end)
  end)
end)
