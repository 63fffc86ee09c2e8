local kernel = require "keel.kernel"
local support = require "support"

describe("The final statuses", function()
  it("are one list, the kernel's: success, error, timeout, interrupted", function()
    assert.same({ success = true, error = true, timeout = true, interrupted = true }, kernel.final)
  end)
end)

support.each_store(function(open)
  describe("set_status", function()
    it("RUN-3: goes from pending to running to success, and updated_at moves each time", function()
      local clock = support.clock()
      local store = open { clock = clock.read, monotonic = clock.read }
      local manager = support.manager(store)
      local run = assert(manager:create "t")
      local seen = { run.updated_at }
      for _, status in ipairs { "running", "success" } do
        clock.advance(1)
        assert.equal(run, assert(manager:set_status(run.run_id, status)))
        assert.equal(status, run.status)
        seen[#seen + 1] = run.updated_at
      end
      assert.same({ "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:01+00:00", "2026-01-01T00:00:02+00:00" }, seen)
      assert.same({ "success", run.updated_at }, { store:get(run.run_id).status, store:get(run.run_id).updated_at })
    end)

    it("RUN-3: the record mirrors what was written: times and revision", function()
      local store = open()
      local manager = support.manager(store)
      local run = assert(manager:create "t")
      assert(manager:set_status(run.run_id, "running"))
      assert(manager:set_status(run.run_id, "error", { error = "boom", stop_reason = "test" }))
      local row = store:get(run.run_id)
      for _, field in ipairs {
        "status", "error", "stop_reason", "created_at", "updated_at", "started_at", "ended_at", "revision",
      } do
        assert.equal(row[field], run[field], field)
      end
      assert.truthy(row.started_at and row.ended_at)
    end)

    it("RUN-8: stores the error's text", function()
      local store = open()
      local manager = support.manager(store)
      local run = assert(manager:create "t")
      assert(manager:set_status(run.run_id, "error", { error = "out of tea" }))
      assert.same({ "error", "out of tea" }, { run.status, run.error })
      assert.equal("out of tea", store:get(run.run_id).error)
    end)

    it("RUN-8: get of an unknown id is nil without an error", function()
      local run, err = support.manager(open()):get(support.unknown_id())
      assert.is_nil(run)
      assert.is_nil(err)
    end)

    it("of an unknown run is not_found", function()
      support.refused("not_found", support.manager(open()):set_status(support.unknown_id(), "running"))
    end)

    it("never leaves a final status, and says which change was refused", function()
      local store = open()
      local manager = support.manager(store)
      local run = assert(manager:create "t")
      assert(manager:set_status(run.run_id, "success"))
      local err = support.refused("invalid_transition", manager:set_status(run.run_id, "running"))
      assert.same({ "success", "running" }, { err.from, err.to })
      assert.same({ "success", "success" }, { run.status, store:get(run.run_id).status })
    end)

    it("to the same final status again succeeds", function()
      local manager = support.manager(open())
      local run = assert(manager:create "t")
      assert(manager:set_status(run.run_id, "error", { error = "first" }))
      assert.equal(run, assert(manager:set_status(run.run_id, "error")))
      assert.equal("first", run.error)
    end)

    it("updates the record when the refusal tells of another's change", function()
      local store = open()
      local manager = support.manager(store)
      local run = assert(manager:create "t")
      assert(store:update_status(run.run_id, "interrupted", { stop_reason = "elsewhere" }))
      support.refused("invalid_transition", manager:set_status(run.run_id, "success"))
      assert.same({ "interrupted", "elsewhere" }, { run.status, run.stop_reason })
    end)

    it("refuses a status that is none", function()
      local manager = support.manager(open())
      local run = assert(manager:create "t")
      support.invalid("status", manager:set_status(run.run_id, "finished"))
      support.raises({ "status", "#2" }, manager.set_status, manager, run.run_id, 7)
      support.raises("reason", manager.set_status, manager, run.run_id, "running", { reason = "x" })
      assert.equal("pending", run.status)
    end)
  end)

  describe("A status write that fails", function()
    it("RUN-9: two lock errors on status writes: the final success still reaches the store", function()
      for _, err in ipairs { support.busy(), "database is locked" } do
        local store = open()
        local wrapped, calls = support.wrap(store, { update_status = support.fail(2, err) })
        local manager = support.manager(wrapped)
        local run = assert(manager:create "t")
        assert(manager:set_status(run.run_id, "running"))
        assert(manager:set_status(run.run_id, "success"))
        assert.same({ "success", "success" }, { run.status, store:get(run.run_id).status })
        assert.is_true(calls.update_status >= 4)
      end
    end)

    it("RUN-10: a permanent error is tried exactly once and comes back", function()
      for _, err in ipairs { support.broken(), "no such table: runs" } do
        local store = open()
        local wrapped, calls = support.wrap(store, { update_status = support.fail(math.huge, err) })
        local manager = support.manager(wrapped, { retry = support.retry(9) })
        local run = assert(manager:create "t")
        local result, failure = manager:set_status(run.run_id, "running")
        assert.is_nil(result)
        assert.matches("no such table", failure.message)
        assert.equal(1, calls.update_status)
        assert.same({ "pending", "pending" }, { run.status, store:get(run.run_id).status })
      end
    end)

    it("RUN-10: a transient error is tried max_attempts times, not more", function()
      local wrapped, calls = support.wrap(open(), { update_status = support.fail(math.huge, support.busy()) })
      local policy, waits = support.retry(4)
      local manager = support.manager(wrapped, { retry = policy })
      local run = assert(manager:create "t")
      support.refused("busy", manager:set_status(run.run_id, "running"))
      assert.same({ 4, 3 }, { calls.update_status, #waits })
    end)

    it("RUN-13: a final write that could not be persisted is never shown as done", function()
      for _, err in ipairs { support.broken(), support.busy(), "disk I/O error" } do
        local store, failing = open(), false
        local log, lines = support.log()
        local manager = support.manager((support.wrap(store, {
          update_status = function(forward, ...)
            if not failing then return forward(...) end
            if type(err) == "string" then error(err, 0) end
            return nil, err
          end,
        })), { log = log })
        local run = assert(manager:create "t")
        assert(manager:set_status(run.run_id, "running"))
        failing = true
        local result, failure = manager:set_status(run.run_id, "success")
        assert.is_nil(result)
        assert.is_table(failure)
        assert.same({ "running", "running" }, { run.status, manager:get(run.run_id).status })
        assert.equal("running", store:get(run.run_id).status)
        assert.is_true(manager:has_inflight "t")
        assert.is_true(#lines > 0)
        failing = false
        assert(manager:set_status(run.run_id, "success"))
        assert.equal("success", store:get(run.run_id).status)
      end
    end)

    it("says through the log that it tries again, and that it gave up", function()
      local log, lines = support.log()
      local wrapped = support.wrap(open(), { update_status = support.fail(1, support.busy()) })
      local manager = support.manager(wrapped, { log = log })
      local run = assert(manager:create "t")
      assert(manager:set_status(run.run_id, "success"))
      assert.is_true(#lines > 0)
      for _, line in ipairs(lines) do
        assert.truthy(({ info = true, warn = true, error = true })[line.level], tostring(line.level))
        assert.is_string(line.message)
      end
    end)
  end)

  describe("A run whose row vanished", function()
    local function vanished(options)
      local store = open()
      local manager = support.manager(store, options)
      local run = assert(manager:create("t", { metadata = { k = "v" } }))
      assert(manager:set_status(run.run_id, "running"))
      assert.is_true(store:delete(run.run_id))
      return store, manager, run
    end

    it("RUN-11: is recreated by a final status update, with status and error", function()
      local store, manager, run = vanished()
      assert(manager:set_status(run.run_id, "error", { error = "boom" }))
      local row = assert(store:get(run.run_id))
      assert.same({ "error", "boom", "t" }, { row.status, row.error, row.thread_id })
      assert.same({ k = "v" }, row.metadata)
    end)

    it("RUN-11: stays deleted when it was deleted through the manager", function()
      local store = open()
      local manager = support.manager(store)
      local run = assert(manager:create "t")
      assert.is_true(manager:delete(run.run_id))
      assert.is_nil((manager:set_status(run.run_id, "error", { error = "boom" })))
      manager:update_run_completion(run.run_id, { status = "success" })
      assert.is_nil(store:get(run.run_id))
      assert.is_nil(manager:get(run.run_id))
      assert.same({}, manager:list_by_thread "t")
      assert.is_false(manager:delete(run.run_id))
    end)
  end)
end)
