local support = require "support"

support.each_store(function(open)
  describe("claim_for_takeover", function()
    local function store_with(fields)
      local store = open()
      fields.thread_id = "t"
      assert(store:put("r", fields))
      return store
    end

    it("gives nothing back that was asked to stop in the same breath", function()
      local store = open()
      assert(store:put("r", { thread_id = "t" }))
      support.invalid("cancel_action",
        store:claim_for_takeover("r", { requeue = true, cancel_action = "interrupt" }))
      support.invalid("cancel_action", store:update_status("r", "running", { cancel_action = "interrupt" }))
      assert.is_true((store:claim_for_takeover("r", { requeue = true })))
      assert.equal("r", assert(store:claim_next {}).run_id)
    end)

    it("takes a run that has neither a session nor claimable", function()
      local store = store_with { status = "running" }
      assert.is_true(store:claim_for_takeover("r", { error = "lost" }))
      local run = store:get "r"
      assert.same({ "error", "lost", "orphan_recovered" }, { run.status, run.error, run.stop_reason })
      assert.truthy(run.ended_at)
    end)

    it("takes a run of a dead session, with the reason given", function()
      local store = store_with { session_id = 4711 }
      assert.is_true(store:claim_for_takeover("r", { error = "lost", stop_reason = "owner_gone" }))
      assert.equal("owner_gone", store:get("r").stop_reason)
    end)

    it("stores the status, the error code and the reason that a reconciler chose", function()
      local store = store_with { status = "running" }
      assert.is_true(store:claim_for_takeover("r",
        { status = "interrupted", error = "lost", error_code = "E7", stop_reason = "owner_gone" }))
      local run = store:get "r"
      assert.same({ "interrupted", "lost", "E7", "owner_gone" },
        { run.status, run.error, run.error_code, run.stop_reason })
    end)

    it("leaves an event", function()
      local store = store_with { status = "running" }
      assert.is_true(store:claim_for_takeover("r", { error = "lost" }))
      local event = support.events(store, { kinds = { "run_finished" } })[1]
      assert.same({ "error", "lost", "orphan_recovered" },
        { event.data.status, event.data.error, event.data.stop_reason })
    end)

    it("takes it once", function()
      local store = store_with { status = "running" }
      assert.is_true(store:claim_for_takeover("r", {}))
      assert.is_false(store:claim_for_takeover("r", {}))
    end)

    it("leaves a run whose session is alive", function()
      local store = open()
      assert(store:put("r", { thread_id = "t", status = "running", session_id = assert(store:session_id()) }))
      assert.is_false(store:claim_for_takeover("r", { error = "lost" }))
      assert.equal("running", store:get("r").status)
    end)

    it("leaves what is claimable, final or not there", function()
      local store = store_with { claimable = true }
      assert.is_false(store:claim_for_takeover("r", {}))
      assert(store:put("final", { thread_id = "t", status = "success" }))
      assert.is_false(store:claim_for_takeover("final", {}))
      assert.is_false(store:claim_for_takeover("nothing", {}))
      assert.equal("pending", store:get("r").status)
      assert.equal("success", store:get("final").status)
    end)

    it("with requeue gives the run back: pending, claimable, nobody's, with an event", function()
      local store = store_with { status = "running", session_id = 4711 }
      assert.is_true(store:claim_for_takeover("r", { requeue = true }))
      local run = store:get "r"
      assert.same({ "pending", true }, { run.status, run.claimable })
      assert.is_nil(run.session_id)
      assert.equal(1, #support.events(store, { kinds = { "run_requeued" } }))
      assert.is_false(store:claim_for_takeover("r", {}))
    end)

    it("refuses what is none", function()
      local store = store_with { status = "running" }
      support.invalid("error", store:claim_for_takeover("r", { error = "\xff" }))
      support.invalid("run_id", store:claim_for_takeover("", {}))
      assert.equal("running", store:get("r").status)
    end)

    it("with requeue ends what is past its deadline: it could never start again", function()
      local store = store_with { status = "running", session_id = 4711, deadline = "2020-01-01T00:00:00Z" }
      assert.is_true(store:claim_for_takeover("r", { requeue = true }))
      local run = store:get "r"
      assert.same({ "timeout", false }, { run.status, run.claimable })
      assert.equal(0, #support.events(store, { kinds = { "run_requeued" } }))
    end)

    it("raises the fence with every change of owner", function()
      local store = store_with { status = "running", session_id = 4711 }
      local fence = store:get("r").fence or 0
      assert.is_true(store:claim_for_takeover("r", { requeue = true }))
      assert.is_true(store:get("r").fence > fence)
    end)
  end)

  describe("request_cancel", function()
    local store
    before_each(function()
      store = open()
      assert(store:put("r", { thread_id = "t", status = "running", session_id = assert(store:session_id()) }))
    end)

    it("gives the action that won: the first one, for ever", function()
      assert.equal("rollback", store:request_cancel("r", { action = "rollback" }))
      assert.equal("rollback", store:request_cancel("r", { action = "interrupt" }))
      local row = store:get "r"
      assert.same({ "running", "rollback" }, { row.status, row.cancel_action })
      assert.equal(1, #support.events(store, { kinds = { "run_cancel_requested" } }))
    end)

    it("is not_found or invalid_transition where there is nothing to cancel", function()
      support.refused("not_found", store:request_cancel("nobody", { action = "interrupt" }))
      assert(store:update_status("r", "success"))
      support.refused("invalid_transition", store:request_cancel("r", { action = "interrupt" }))
      assert.is_nil(store:get("r").cancel_action)
    end)

    it("interrupts at once what waits to be claimed: there is nobody to ask", function()
      assert(store:put("free", { thread_id = "t", claimable = true }))
      assert.equal("rollback", store:request_cancel("free", { action = "rollback" }))
      local row = store:get "free"
      assert.same({ "interrupted", "rollback" }, { row.status, row.cancel_action })
    end)

    it("refuses an action that is none", function()
      support.invalid("action", store:request_cancel("r", { action = "explode" }))
      assert.is_nil(store:get("r").cancel_action)
    end)
  end)
end)
