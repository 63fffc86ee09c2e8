--- What the log tells of admission: why, by which strategy, and, if the manager wants that, whom it did not admit.
local support = require "support"

support.each_store(function(open)
  local store, manager
  before_each(function()
    store = open { durability = "off" }
    manager = support.manager(store, { record_refusals = true })
  end)

  local function last_event()
    local events = support.events(store)
    return events[#events]
  end

  describe("With record_refusals", function()
    it("EVENT-2: a refusal leaves run_rejected: the run in the way, the strategy, the reason, the position", function()
      local options = { multitask_strategy = "enqueue", strategy_options = { max_waiting = 0 } }
      local run = assert(manager:create_or_reject("t", options))
      local err = support.refused("conflict", manager:create_or_reject("t", options))
      local event = last_event()
      assert.same({ "run_rejected", "t", run.run_id }, { event.kind, event.thread_id, event.run_id })
      assert.same({ "enqueue", err.reason, 1 }, { event.data.strategy, event.data.reason, event.data.position })
      assert.equal(support.events(store)[1].data.strategy_version, event.data.strategy_version)
    end)

    it("a reuse leaves run_reused, by fingerprint and by key", function()
      local options = { multitask_strategy = "reuse", fingerprint = "f", idempotency_key = "k" }
      local run = assert(manager:create_or_reject("t", options))
      for _, again in ipairs { options, { multitask_strategy = "reuse", fingerprint = "f" } } do
        local events = #support.events(store)
        assert.equal(run.run_id, assert(manager:create_or_reject("t", again)).run_id)
        assert.equal(events + 1, #support.events(store))
        local event = last_event()
        assert.same({ "run_reused", "t", run.run_id }, { event.kind, event.thread_id, event.run_id })
        assert.equal("reuse", event.data.strategy)
        assert.is_true(#event.data.reason > 0)
      end
    end)

    it("a refusal on a free thread names no run", function()
      support.refused("conflict",
        manager:create_or_reject("t", { multitask_strategy = function() return { admit = false } end }))
      assert.same({ "run_rejected", "t" }, { last_event().kind, last_event().thread_id })
      assert.is_nil(last_event().run_id)
    end)

    it("a reserved thread's refusal names the reservation", function()
      local err
      manager:reserve("t", "delete", function() err = support.refused("conflict", manager:create_or_reject "t") end)
      local event = support.events(store, { kinds = { "run_rejected" } })[1]
      assert.equal(err.run_id, event.run_id)
      assert.matches("delete", event.data.reason)
    end)

    it("what is admitted, or fails, leaves neither", function()
      assert(manager:create_or_reject "t")
      support.refused("policy_failed",
        manager:create_or_reject("t", { multitask_strategy = function() return {} end }))
      assert.same({ "run_created" }, support.pluck(support.events(store), "kind"))
    end)

    it("EVENT-2: a refusal that could not be written down is the store's error", function()
      assert(manager:create "t")
      local overrides = { tx = { append_admission = support.fail(1, support.broken()) } }
      local broken = support.manager((support.wrap(store, overrides)), { record_refusals = true, log = support.log() })
      support.refused("store_corrupt", broken:create_or_reject "t")
      assert.equal(1, #support.events(store))
    end)
  end)

  it("Without record_refusals a refusal and a reuse leave nothing", function()
    manager = support.manager(store)
    local options = { multitask_strategy = "reuse", fingerprint = "f" }
    assert(manager:create_or_reject("t", options))
    assert(manager:create_or_reject("t", options))
    support.refused("conflict", manager:create_or_reject "t")
    assert.equal(1, #support.events(store))
  end)

  it("run_created says strategy, version, reason, whom it cancelled, replaced, and is queued behind", function()
    local function data_of(options)
      local run = assert(manager:create_or_reject("t", options))
      return support.events(store, { run_id = run.run_id })[1].data, run
    end
    local first, one = data_of { multitask_strategy = "enqueue" }
    assert.equal("started", manager:try_start(one.run_id))
    assert.same({ "enqueue" }, { first.strategy, first.cancelled, first.replaced, first.queued_behind })
    local second, two = data_of { multitask_strategy = "replace_pending" }
    assert.same({ one.run_id }, { table.unpack(second.queued_behind) })
    assert.is_nil(second.replaced)
    local third, three = data_of { multitask_strategy = "replace_pending" }
    assert.same({ two.run_id, one.run_id }, { third.replaced, third.queued_behind[1] })
    local fourth = data_of { multitask_strategy = "rollback" }
    assert.same({ one.run_id, three.run_id }, { table.unpack(fourth.cancelled) })
    assert.same({ "rollback", "rollback" }, { fourth.strategy, fourth.action })
    assert.same({ one.run_id }, { table.unpack(fourth.queued_behind) }) -- it is not settled
  end)
end)
