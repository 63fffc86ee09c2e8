--- A store of the user's own that answers true, and does not say what it wrote: it is believed to have written what it
--- was told.
local keel = require "keel"
local support = require "support"

local function silent(forward, ...)
  local done, err = forward(...)
  if done then return true end
  return done, err
end

local writing = { put = silent, update_status = silent, update_run_completion = silent, update_run_progress = silent,
  requeue = silent }

local function silent_store(store)
  local overrides = { tx = writing }
  for name, override in pairs(writing) do overrides[name] = override end
  return (support.wrap(store, overrides))
end

support.each_store(function(open)
  describe("A store that does not say what it wrote", function()
    local store, manager
    before_each(function()
      store = open()
      manager = support.manager(silent_store(store))
    end)

    -- The record has what the row has; its times may be a moment apart.
    local function assert_mirrored(run)
      local row = assert(store:get(run.run_id))
      for name in pairs(require("keel.kernel").run_fields) do
        if not name:find "_at$" and name ~= "revision" then assert.same(row[name], run[name], name) end
      end
    end

    it("leaves the record of a new run as its row is", function()
      assert_mirrored(assert(manager:create("a", { metadata = { k = 1 }, priority = 2 })))
      assert_mirrored(assert(manager:create_or_reject("b", { kwargs = { x = "y" } })))
    end)

    it("leaves the record of one as its row is that starts, counts and ends", function()
      local run = assert(manager:create "t")
      assert.equal("started", manager:try_start(run.run_id))
      assert.equal("running", run.status)
      local progress = { total_tokens = 3, token_usage_by_model = { big = { total_tokens = 3 } } }
      assert.is_true(manager:update_run_progress(run.run_id, progress))
      assert.equal(3, run.total_tokens)
      assert.same({ "token_usage_by_model", "total_tokens" }, support.sorted_keys(progress)) -- it is the caller's
      assert.is_true(manager:update_run_completion(run.run_id, { status = "error", error = "boom" }))
      assert.same({ "error", "boom" }, { run.status, run.error })
      assert_mirrored(run)
    end)

    it("tells the owner of a run that a newcomer has interrupted", function()
      local run = assert(manager:create "t")
      assert(manager:create_or_reject("t", { multitask_strategy = "rollback" }))
      assert.same({ "interrupted", "rollback", true }, { run.status, run.cancel_action, run.abort_event:is_set() })
    end)

    it("has its runs failed, named, cancelled and given back like any other", function()
      local failed, cancelled = assert(manager:create "a"), assert(manager:create "b")
      assert.is_true(manager:update_model_name(failed.run_id, "big"))
      assert.is_true(manager:fail_pending(failed.run_id, { error = "no room" }))
      assert.same({ "error", "no room", "big" }, { failed.status, failed.error, failed.model_name })
      assert.same({ true, "cancelled" }, { manager:cancel(cancelled.run_id) })
      assert.equal("interrupted", cancelled.status)
      assert(manager:create("c", { claimable = true, max_attempts = 2 }))
      local run = assert(manager:claim_next())
      assert.equal("pending", assert(manager:requeue(run.run_id)).status)
    end)

    it("is believed behind shared commits as well, and by a dispatcher", function()
      local shared = keel.shared_commits(silent_store(store))
      assert.equal("pending", assert(support.manager(shared):create "t").status)
      local dispatcher = keel.dispatcher { store = silent_store(store) }
      local run = assert(dispatcher:create { machine = "m", test_dir_hash = "h" })
      assert.same({ "pending", 1 }, { run.status, run.revision })
    end)
  end)
end)
