local support = require "support"

support.each_store(function(open)
  local function started(thread)
    local store = open()
    local manager = support.manager(store)
    local run = assert(manager:create(thread or "t"))
    assert(manager:set_status(run.run_id, "running"))
    return manager, run, store
  end

  describe("cancel", function()
    it("RUN-6: of a running run interrupts it, in memory and store, and sets its abort event", function()
      local manager, run, store = started()
      assert.same({ true, "cancelled" }, { manager:cancel(run.run_id) })
      assert.same({ "interrupted", true, "interrupt" }, { run.status, run.abort_event:is_set(), run.abort_action })
      assert.equal("interrupted", store:get(run.run_id).status)
    end)

    it("RUN-6: a second time is true and cancelled again, without another event", function()
      local manager, run, store = started()
      assert(manager:cancel(run.run_id))
      local before = #support.events(store)
      assert.same({ true, "cancelled" }, { manager:cancel(run.run_id) })
      assert.equal(before, #support.events(store))
    end)

    it("of a pending run works the same", function()
      local store = open()
      local manager = support.manager(store)
      local run = assert(manager:create "t")
      assert.same({ true, "cancelled" }, { manager:cancel(run.run_id) })
      assert.same({ "interrupted", "interrupted" }, { run.status, store:get(run.run_id).status })
    end)

    it("says in the run why it ended, whoever's it was", function()
      local manager, run, store = started()
      assert(manager:cancel(run.run_id))
      assert.same({ "cancelled", "cancelled" }, { run.stop_reason, store:get(run.run_id).stop_reason })
      local other = support.manager(store)
      local pending = assert(other:create "u").run_id
      assert(support.manager(store):cancel(pending))
      assert.equal("cancelled", store:get(pending).stop_reason)
    end)

    it("with rollback says so to the run, which may then record that it rolled back", function()
      local manager, run, store = started()
      assert.same({ true, "cancelled" }, { manager:cancel(run.run_id, { action = "rollback" }) })
      assert.same({ "interrupted", "rollback" }, { run.status, run.abort_action })
      assert(manager:set_status(run.run_id, "error", { error = "rolled back" }))
      assert.same({ "error", "rolled back" }, { store:get(run.run_id).status, store:get(run.run_id).error })
    end)

    it("with interrupt leaves interrupted as the last word", function()
      local manager, run, store = started()
      assert(manager:cancel(run.run_id, { action = "interrupt" }))
      support.refused("invalid_transition", manager:set_status(run.run_id, "error", { error = "rolled back" }))
      assert.equal("interrupted", store:get(run.run_id).status)
    end)

    it("RUN-7: of a successful run is false, not_cancellable, and leaves it alone", function()
      local manager, run = started()
      assert(manager:set_status(run.run_id, "success"))
      assert.same({ false, "not_cancellable" }, { manager:cancel(run.run_id) })
      assert.same({ "success", false }, { run.status, run.abort_event:is_set() })
    end)

    it("RUN-7: of an unknown run is false, unknown", function()
      assert.same({ false, "unknown" }, { support.manager(open()):cancel(support.unknown_id()) })
    end)

    it("RUN-7: of a run that finished before this manager was made is false, not_cancellable", function()
      local manager, run, store = started()
      assert(manager:set_status(run.run_id, "error"))
      assert.same({ false, "not_cancellable" }, { support.manager(store):cancel(run.run_id) })
    end)

    it("that the store does not take is an error, and the run goes on", function()
      local store = open()
      local failing = false
      local function broken(forward, ...)
        if failing then return nil, support.broken() end
        return forward(...)
      end
      local manager = support.manager((support.wrap(store, {
        update_status = broken, put = broken, begin = broken, transaction = broken, request_cancel = broken,
      })))
      local run = assert(manager:create "t")
      failing = true
      support.refused("store_corrupt", manager:cancel(run.run_id))
      assert.same({ "pending", false }, { run.status, run.abort_event:is_set() })
    end)

    it("refuses an action that is none", function()
      local manager, run = started()
      support.invalid("action", manager:cancel(run.run_id, { action = "explode" }))
      support.raises("force", manager.cancel, manager, run.run_id, { force = true })
      assert.equal("running", run.status)
    end)
  end)

  describe("An abort event", function()
    it("calls who listens when it is set, once", function()
      local manager, run = started()
      local calls = 0
      run.abort_event:on_set(function() calls = calls + 1 end)
      assert(manager:cancel(run.run_id))
      run.abort_event:set()
      assert.equal(1, calls)
    end)

    it("calls at once who comes late", function()
      local manager, run = started()
      assert(manager:cancel(run.run_id))
      local called = false
      run.abort_event:on_set(function() called = true end)
      assert.is_true(called)
    end)

    it("is set only after the store has taken the change", function()
      local manager, run, store = started()
      local seen
      run.abort_event:on_set(function() seen = store:get(run.run_id).status end)
      assert(manager:cancel(run.run_id))
      assert.equal("interrupted", seen)
    end)

    it("survives a listener that raises: the cancel holds and the others hear of it", function()
      local manager, run, store = started()
      local heard = false
      run.abort_event:on_set(function() error "a bad listener" end)
      run.abort_event:on_set(function() heard = true end)
      pcall(manager.cancel, manager, run.run_id)
      assert.same({ "interrupted", "interrupted", true }, { run.status, store:get(run.run_id).status, heard })
    end)
  end)

  describe("fail_pending", function()
    it("RUN-31: turns a pending run into error, with its abort event set", function()
      local store = open()
      local manager = support.manager(store)
      local run = assert(manager:create "t")
      assert.is_true(manager:fail_pending(run.run_id, { error = "no room" }))
      assert.same({ "error", "no room", true }, { run.status, run.error, run.abort_event:is_set() })
      assert.same({ "error", "no room" }, { store:get(run.run_id).status, store:get(run.run_id).error })
    end)

    it("RUN-31: on a running run says false and changes nothing", function()
      local manager, run, store = started()
      local before = store:get(run.run_id)
      assert.is_false(manager:fail_pending(run.run_id, { error = "no room" }))
      assert.same({ "running", false }, { run.status, run.abort_event:is_set() })
      assert.same(before, store:get(run.run_id))
    end)

    it("RUN-31: on a run that another started meanwhile says false and changes nothing", function()
      local store = open()
      local manager = support.manager(store)
      local run = assert(manager:create "t")
      assert(store:update_status(run.run_id, "running"))
      assert.is_false(manager:fail_pending(run.run_id, { error = "no room" }))
      assert.equal("running", store:get(run.run_id).status)
    end)

    it("RUN-31: of an unknown or final run says false", function()
      local manager, run = started()
      assert(manager:set_status(run.run_id, "success"))
      assert.is_false(manager:fail_pending(run.run_id, { error = "x" }))
      assert.is_false(manager:fail_pending(support.unknown_id(), { error = "x" }))
    end)
  end)
end)
