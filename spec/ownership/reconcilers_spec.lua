--- Who recovers a run decides what becomes of it: the built-in reconciler, a function, or the run's own choice.
local support = require "support"

support.each_store(function(open)
  local function orphan(store, run_id, fields)
    fields = fields or {}
    fields.thread_id, fields.status = "t", "running"
    assert(store:put(run_id, fields))
  end

  local function recover(store, options, manager_options)
    return support.manager(store, manager_options):reconcile_orphaned_inflight_runs(options)
  end

  describe("A reconciler", function()
    it("fail_orphans is the default, and pure", function()
      local fail_orphans = require "keel.reconcilers.fail_orphans"
      local run = { run_id = "r", status = "running" }
      local outcome = fail_orphans(run, { error = "lost", now = "2026-01-01T00:00:00+00:00" })
      assert.same({ "error", "lost" }, { outcome.status, outcome.error })
      assert.same({ run_id = "r", status = "running" }, run)
    end)

    it("as a function decides status, error, code and reason", function()
      local store, seen = open(), nil
      orphan(store, "r", { metadata = { k = "v" } })
      local found = recover(store, { error = "lost", reconciler = function(run, context)
        seen = { run.run_id, run.metadata.k, context.error }
        return { status = "timeout", error = "too late", error_code = "E1", stop_reason = "mine" }
      end })
      assert.same({ "r", "v", "lost" }, seen)
      assert.same({ "r" }, support.pluck(found, "run_id"))
      local run = store:get "r"
      assert.same({ "timeout", "too late", "E1", "mine" }, { run.status, run.error, run.error_code, run.stop_reason })
    end)

    it("that gives nil leaves the run alone", function()
      local store = open()
      orphan(store, "r")
      assert.same({}, recover(store, { reconciler = function() return nil end }))
      assert.equal("running", store:get("r").status)
    end)

    it("may give the run back", function()
      local store = open()
      orphan(store, "r")
      recover(store, { reconciler = function() return { requeue = true } end })
      assert.same({ "pending", true }, { store:get("r").status, store:get("r").claimable })
    end)

    it("named by the run wins over the call's", function()
      local store = open()
      orphan(store, "plain")
      orphan(store, "choosy", { reconciler = "its_own" })
      local manager = { reconcilers = { its_own = function() return { status = "interrupted", error = "own" } end } }
      recover(store, { error = "lost", reconciler = "fail_orphans" }, manager)
      assert.same({ "error", "lost" }, { store:get("plain").status, store:get("plain").error })
      assert.same({ "interrupted", "own" }, { store:get("choosy").status, store:get("choosy").error })
    end)

    for what, reconciler in pairs {
      ["raises"] = function() error "no idea" end,
      ["gives a text"] = function() return "error" end,
      ["gives a status that is not final"] = function() return { status = "running" } end,
      ["gives an unknown field"] = function() return { status = "error", colour = "red" } end,
      ["loops for ever"] = function() while true do end end,
    } do
      it("that " .. what .. " changes nothing, and the error says so", function()
        local store = open()
        orphan(store, "r")
        local before = store:get "r"
        local found, err = recover(store, { reconciler = reconciler }, { policy_budget = { instructions = 10000 } })
        assert.same({}, found or {})
        assert.truthy(({ policy_failed = true, policy_budget = true, invalid_request = true })[err.code], err.code)
        assert.same(before, store:get "r")
      end)
    end

    it("decides in an admission as well: the run's own, inside the transaction", function()
      local store = open()
      orphan(store, "choosy", { reconciler = "its_own" })
      local manager = support.manager(store, {
        reconcilers = { its_own = function() return { status = "interrupted", error = "own" } end },
      })
      assert(manager:create_or_reject "t")
      assert.same({ "interrupted", "own" }, { store:get("choosy").status, store:get("choosy").error })
    end)
  end)
end)
