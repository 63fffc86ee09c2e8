local support = require "support"

local NEVER = 987654321 -- no session ever had this number

support.each_store(function(open)
  local function recover(manager, options)
    local found, err = manager:reconcile_orphaned_inflight_runs(options or { error = "lost" })
    assert.is_nil(err)
    return found
  end

  local function put(store, run_id, fields)
    fields.thread_id = fields.thread_id or "t"
    assert(store:put(run_id, fields))
  end

  describe("Recovery", function()
    it("OWN-1: makes stale pending and running rows error with the given text, and returns exactly those", function()
      local store = open()
      put(store, "pending", {})
      put(store, "running", { status = "running", session_id = NEVER })
      put(store, "done", { status = "success" })
      put(store, "stopped", { status = "interrupted", error = "by hand" })
      local found = recover(support.manager(store), { error = "the owner is gone" })
      assert.same({ pending = true, running = true }, support.ids(found))
      for _, run in ipairs { found[1], found[2], store:get "pending", store:get "running" } do
        assert.same({ "error", "the owner is gone", "orphan_recovered" }, { run.status, run.error, run.stop_reason })
      end
      assert.equal("success", store:get("done").status)
      assert.same({ "interrupted", "by hand" }, { store:get("stopped").status, store:get("stopped").error })
    end)

    it("OWN-1: leaves an event for each, and finds nothing the second time", function()
      local store = open()
      for i = 1, 3 do put(store, "r" .. i, { status = "running" }) end
      local manager = support.manager(store)
      assert.equal(3, #recover(manager))
      assert.equal(0, #recover(manager))
      local finished = support.events(store, { kinds = { "run_finished" } })
      assert.equal(3, #finished)
      assert.same({ "error", "lost", "orphan_recovered" },
        { finished[1].data.status, finished[1].data.error, finished[1].data.stop_reason })
    end)

    it("OWN-1: works without options, and says something as the error", function()
      local store = open()
      put(store, "r", {})
      assert.equal(1, #recover(support.manager(store), {}))
      assert.equal("error", store:get("r").status)
      assert.is_true(#store:get("r").error > 0)
    end)

    it("OWN-1: before bounds the creation time, compared as instants", function()
      local store = open()
      put(store, "early", { created_at = "2026-01-01T10:00:00Z" })
      put(store, "same", { created_at = "2026-01-01T11:00:00.5Z" })
      put(store, "late", { created_at = "2026-01-01T12:00:00Z" })
      local manager = support.manager(store)
      local found = recover(manager, { error = "lost", before = "2026-01-01T14:30:00.5+03:30" })
      assert.is_true(support.ids(found).early)
      assert.is_nil(support.ids(found).late)
      assert.equal("pending", store:get("late").status)
      assert.same({ late = true }, support.ids(recover(manager)))
    end)

    it("OWN-1: recovers more than one page of rows", function()
      local store = open()
      assert(store:transaction(function(tx)
        for i = 1, 1203 do assert(tx:put("r" .. i, { thread_id = "t" .. i % 7 })) end
        return true
      end))
      local log = support.log()
      assert.equal(1203, #recover(support.manager(store, { log = log })))
      assert.same({}, store:list_inflight {})
    end)

    it("OWN-1: is not stopped by a page of runs that are alive", function()
      local store = open()
      local session = assert(store:session_id())
      assert(store:transaction(function(tx)
        for i = 1, 1100 do assert(tx:put("mine" .. i, { thread_id = "t", session_id = session })) end
        return tx:put("stale", { thread_id = "t" })
      end))
      assert.same({ "stale" }, support.pluck(recover(support.manager(store)), "run_id"))
    end)

    it("OWN-2: never touches a run whose session is alive", function()
      local store = open()
      local manager = support.manager(store)
      local mine = assert(manager:create "t")
      assert(manager:set_status(mine.run_id, "running"))
      assert.same({}, recover(manager))
      assert.same({}, recover(support.manager(store)))
      assert.same({ "running", "running" }, { mine.status, store:get(mine.run_id).status })
    end)

    it("OWN-2: never touches claimable runs: a producer that exits leaves its queue", function()
      local store = open()
      put(store, "queued", { claimable = true })
      put(store, "dead's", { claimable = true, session_id = NEVER })
      local left = support.ids(recover(support.manager(store)))
      assert.same({}, left)
      assert.equal("pending", store:get("queued").status)
    end)

    it("OWN-2: a run that is made claimable has no owner any more, whose end would end it", function()
      local store = open()
      put(store, "r", { session_id = NEVER, fence = 4 })
      local _, written = assert(store:put("r", { claimable = true }))
      assert.same({ 5, true }, { written.fence, written.claimable })
      assert.is_nil(store:get("r").session_id)
      assert.same({}, recover(support.manager(store)))
      support.refused("stale_owner", store:update_status("r", "success", { fence = 4 }))
      assert.equal("r", assert(store:claim_next {}).run_id)
      assert.same({}, store:verify())
    end)

    it("a claimable run that is given an owner is nobody else's to claim", function()
      local store = open()
      put(store, "r", { claimable = true })
      assert(store:put("r", { session_id = assert(store:session_id()) }))
      assert.is_false(store:get("r").claimable)
      assert.is_nil((store:claim_next {}))
      assert.same({}, store:verify())
    end)

    it("OWN-5: if the takeover keeps failing, the row is not reported and stays as it was", function()
      for _, err in ipairs { support.busy(), "database is locked" } do
        local store = open()
        put(store, "r", { status = "running" })
        local before = store:get "r"
        local wrapped, calls = support.wrap(store, { claim_for_takeover = support.fail(math.huge, err) })
        local found = support.manager(wrapped, { retry = support.retry(3) })
          :reconcile_orphaned_inflight_runs { error = "lost" }
        assert.same({}, found)
        assert.equal(3, calls.claim_for_takeover)
        assert.same(before, store:get "r")
      end
    end)

    it("OWN-5: a takeover that fails for good is tried once, and the others are recovered", function()
      local store = open()
      for _, id in ipairs { "a", "b", "c" } do put(store, id, {}) end
      local log, lines = support.log()
      local wrapped, calls = support.wrap(store, {
        claim_for_takeover = function(forward, run_id, ...)
          if run_id == "b" then return nil, support.broken() end
          return forward(run_id, ...)
        end,
      })
      local found = support.manager(wrapped, { log = log }):reconcile_orphaned_inflight_runs { error = "lost" }
      assert.same({ a = true, c = true }, support.ids(found))
      assert.equal("pending", store:get("b").status)
      assert.equal(3, calls.claim_for_takeover)
      assert.is_true(#lines > 0)
    end)

    it("does what it is there for when the host's log raises", function()
      local store = open()
      put(store, "r", {})
      local wrapped = support.wrap(store, { claim_for_takeover = support.fail(2, support.busy()) })
      local manager = support.manager(wrapped, { log = function() error "the disk of the log is full" end })
      assert.same({ r = true }, support.ids(manager:reconcile_orphaned_inflight_runs()))
    end)

    it("OWN-5: a takeover that fails for a moment succeeds", function()
      local store = open()
      put(store, "r", {})
      local wrapped = support.wrap(store, { claim_for_takeover = support.fail(2, support.busy()) })
      assert.equal(1, #recover(support.manager(wrapped, { retry = support.retry(3) })))
    end)

    it("asks the store for what is in flight, then takes run by run, outside a transaction", function()
      local store = open()
      for _, id in ipairs { "a", "b" } do put(store, id, {}) end
      local wrapped, calls = support.wrap(store)
      recover(support.manager(wrapped))
      assert.equal(2, calls.claim_for_takeover)
      assert.is_true(calls.list_inflight >= 1)
      assert.same({ 0, 0 }, { calls.begin, calls.transaction })
    end)

    it("that cannot look is an error", function()
      local wrapped = support.wrap(open(), { list_inflight = support.fail(math.huge, support.broken()) })
      local found, err = support.manager(wrapped):reconcile_orphaned_inflight_runs { error = "lost" }
      assert.equal("store_corrupt", err.code)
      assert.is_true(found == nil or #found == 0)
    end)

    it("a row that another changed between the look and the takeover is not reported", function()
      local store = open()
      put(store, "r", { status = "running" })
      local wrapped = support.wrap(store, {
        claim_for_takeover = function(forward, run_id, ...)
          assert(store:update_status(run_id, "success"))
          return forward(run_id, ...)
        end,
      })
      assert.same({}, recover(support.manager(wrapped)))
      assert.equal("success", store:get("r").status)
    end)
  end)
end)
