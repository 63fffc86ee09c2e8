--- Runs of others: what a manager may do to a run that another session has, had, or never had.
local keel = require "keel"
local support = require "support"

describe("A run of another session", function()
  local path, theirs, their_store, ours, our_store
  after_each(support.clean_up)

  before_each(function()
    path = support.path()
    their_store, our_store = support.open(path), support.open(path)
    theirs = support.manager(their_store, { reconcilers = { elsewhere = function() end } })
    ours = support.manager(our_store)
  end)

  local function started(options)
    local run = assert(theirs:create("t", options))
    assert.equal("started", theirs:try_start(run.run_id))
    return run
  end

  it("that is there is written by nobody else: status, outcome, counters, model", function()
    local run = started()
    support.refused("stale_owner", ours:set_status(run.run_id, "success"))
    support.refused("stale_owner", ours:update_run_completion(run.run_id, { status = "error", error = "mine" }))
    support.refused("stale_owner", ours:update_run_progress(run.run_id, { total_tokens = 1 }))
    support.refused("stale_owner", ours:update_model_name(run.run_id, "other"))
    local row = our_store:get(run.run_id)
    assert.same({ "running", 0 }, { row.status, row.total_tokens })
    assert.is_nil(row.error)
  end)

  it("that names a reconciler nobody here knows is in the way like any other", function()
    started { reconciler = "elsewhere" }
    support.refused("conflict", ours:create_or_reject "t")
  end)

  it("F-13: that died and names a reconciler nobody here knows stays as it is, and that is said", function()
    local run = started { reconciler = "elsewhere" }
    their_store:close()
    local log, lines = support.log()
    local manager = support.manager(our_store, { log = log })
    local conflict = support.refused("conflict", manager:create_or_reject "t")
    assert.matches("the run names the reconciler elsewhere, which this process does not know", conflict.message)
    assert.matches("keel reconcile %-%-reconciler", conflict.message)
    assert.matches("elsewhere", assert(manager:explain(run.run_id)).reason)
    assert.is_true(#lines > 0)
    local recovered, err = manager:reconcile_orphaned_inflight_runs {}
    assert.same({ 0, "policy_failed", "elsewhere" }, { #recovered, err.code, err.policy })
    assert.equal("running", our_store:get(run.run_id).status)
    assert.same({}, assert(manager:tick { reconciler = "fail_orphans" }).recovered) -- a tick does not decide over it
    assert.equal(1, #assert(manager:reconcile_orphaned_inflight_runs { reconciler = "fail_orphans" }))
    assert.equal("error", our_store:get(run.run_id).status)
  end)

  it("F-13: whose store names a reconciler nobody here knows stays as it is, and that is said", function()
    local run = started()
    assert(our_store:set_reconciler "elsewhere")
    their_store:close()
    local recovered, err = ours:reconcile_orphaned_inflight_runs {}
    assert.same({ 0, "policy_failed" }, { #recovered, err.code })
    assert.matches("the store names the reconciler elsewhere, which this process does not know", err.message)
    assert.equal("running", our_store:get(run.run_id).status)
  end)

  it("F-13: a reconciler that the manager was not told of is refused at creation", function()
    support.invalid("reconciler", ours:create("t", { reconciler = "elsewhere" }))
    support.invalid("reconciler", ours:create_or_reject("t", { reconciler = "elsewhere" }))
    support.invalid("reconciler", keel.run_manager { store = our_store, reconciler = "elsewhere" })
    assert(theirs:create_or_reject("t", { reconciler = "elsewhere" }))
  end)

  it("F-13: a manager that was told that others know a reconciler makes runs with it, and decides over none", function()
    local manager = support.manager(our_store, { reconcilers = { elsewhere = true } })
    local run = assert(manager:create("t", { reconciler = "elsewhere" }))
    assert.equal("elsewhere", run.reconciler)
    support.invalid("reconciler", keel.run_manager { store = our_store, reconciler = "elsewhere",
      reconcilers = { elsewhere = true } })
    support.invalid("reconciler", manager:tick { reconciler = "elsewhere" })
    started { reconciler = "elsewhere" }
    their_store:close()
    local recovered, err = manager:reconcile_orphaned_inflight_runs()
    assert.same({ 0, "unknown reconciler" }, { #recovered, err.reason })
    local _, names = err.message:gsub("elsewhere", "")
    assert.equal(1, names) -- it is not among the known ones
  end)

  it("that died cannot be started, only recovered", function()
    local run = assert(theirs:create "t")
    their_store:close()
    support.refused("stale_owner", ours:try_start(run.run_id))
    support.refused("stale_owner", ours:set_status(run.run_id, "running"))
    assert.equal("pending", our_store:get(run.run_id).status)
  end)

  it("that died is not waited for", function()
    local old = started()
    local new = assert(ours:create_or_reject("t", { multitask_strategy = "interrupt" }))
    assert.equal("waiting", ours:try_start(new.run_id))
    their_store:close()
    assert.equal("started", ours:try_start(new.run_id))
    assert.same({ "error", "orphan_recovered" }, { ours:get(old.run_id).status, ours:get(old.run_id).stop_reason })
  end)

  it("that died and was given back is in the way still", function()
    local old = assert(theirs:create "t")
    their_store:close()
    local manager = support.manager(our_store, { reconcilers = {
      recover_orphans = function() return { requeue = true } end,
    } })
    local conflict = support.refused("conflict", manager:create_or_reject "t")
    assert.equal(old.run_id, conflict.run_id)
    assert.equal(1, our_store:count_inflight "t")
  end)

  it("that was given back carries nothing of the try that was lost; the event does", function()
    local old = started()
    their_store:close()
    assert.is_true(our_store:claim_for_takeover(old.run_id, { requeue = true, error = "died" }))
    local row = our_store:get(old.run_id)
    assert.same({ "pending", true, 1 }, { row.status, row.claimable, row.losses })
    assert.same({}, { row.error, row.stop_reason, row.session_id, row.started_at })
    local events = our_store:read_events(nil, 10, { kinds = { "run_requeued" } }).events
    assert.same({ "died", 1 }, { events[1].data.error, events[1].data.losses })
  end)
end)

describe("A claimable run", function()
  after_each(support.clean_up)

  it("is not started by try_start: it has to be claimed", function()
    local store = support.open ":memory:"
    local run = assert(support.manager(store):create("t", { claimable = true }))
    support.refused("stale_owner", support.manager(store):try_start(run.run_id))
    assert.equal("pending", store:get(run.run_id).status)
  end)

  it("is written by nobody, its maker neither: nobody owns it", function()
    local store = support.open ":memory:"
    local manager = support.manager(store)
    local run = assert(manager:create("t", { claimable = true }))
    for _, asker in ipairs { manager, support.manager(store) } do
      support.refused("stale_owner", asker:set_status(run.run_id, "success"))
      support.refused("stale_owner", asker:update_run_completion(run.run_id, { status = "success" }))
      support.refused("stale_owner", asker:update_model_name(run.run_id, "other"))
      support.refused("stale_owner", asker:try_start(run.run_id))
    end
    assert.same({ "pending", 1 }, { store:get(run.run_id).status, store:get(run.run_id).revision })
  end)

  it("may be failed by anybody: nobody is doing it yet", function()
    local store = support.open ":memory:"
    local run = assert(support.manager(store):create("t", { claimable = true }))
    assert.is_true(support.manager(store):fail_pending(run.run_id, { error = "unwanted" }))
    assert.same({ "error", "unwanted" }, { store:get(run.run_id).status, store:get(run.run_id).error })
    assert.is_nil(support.manager(store):claim_next())
  end)
end)

describe("Recovery", function()
  after_each(support.clean_up)

  it("goes on behind a reconciler that decides nonsense, and says so", function()
    local store = support.open ":memory:"
    local manager = support.manager(store, { reconcilers = { bad = function() return { status = "gone" } end } })
    assert(store:put("r1", { thread_id = "t", status = "running", reconciler = "bad" }))
    assert(store:put("r2", { thread_id = "t", status = "running" }))
    local recovered, err = manager:reconcile_orphaned_inflight_runs {}
    assert.same({ 1, "r2", "policy_failed" }, { #recovered, recovered[1].run_id, err.code })
    assert.equal("running", store:get("r1").status)
  end)

  it("by an unknown reconciler is refused before anything is read", function()
    local manager = support.manager(support.open ":memory:")
    local err = support.invalid("reconciler", manager:reconcile_orphaned_inflight_runs { reconciler = "fail_orphan" })
    assert.matches("; did you mean 'fail_orphans'?", err.message, 1, true)
  end)

  it("before the epoch itself is a bound like any other", function()
    local store = support.open ":memory:"
    assert(store:put("r", { thread_id = "t" }))
    assert.same({}, store:list_inflight { before = "1970-01-01T00:00:00Z" })
  end)
end)

describe("Options that are keel.null", function()
  after_each(support.clean_up)

  it("are as good as not given", function()
    local store = support.open ":memory:"
    local manager = support.manager(store)
    local run = assert(manager:create_or_reject("t", { claimable = keel.null, metadata = keel.null,
      multitask_strategy = keel.null }))
    assert.same({ store:session_id(), "reject" }, { run.session_id, run.multitask_strategy })
    assert.equal(run, manager:get(run.run_id, { user_id = keel.null }))
    assert(manager:set_status(run.run_id, "error", { error = keel.null }))
  end)
end)

describe("Small things:", function()
  after_each(support.clean_up)

  it("a transaction has close, which rolls back", function()
    local store = support.open ":memory:"
    local tx = assert(store:begin())
    assert(tx:put("r", { thread_id = "t" }))
    tx:close()
    tx:close()
    assert.is_nil(store:get "r")
  end)

  it("token usage that holds itself is refused, and nothing changes", function()
    local manager = support.manager(support.open ":memory:")
    local run = assert(manager:create "t")
    local usage = {}
    usage.again = usage
    support.invalid("token_usage_by_model", manager:update_run_completion(run.run_id,
      { status = "success", token_usage_by_model = usage }))
    assert.equal("pending", run.status)
  end)

  it("cleanup with a delay works on a store that has no sleep", function()
    local store = support.wrap(support.open ":memory:", {})
    local manager = support.manager(store)
    local run = assert(manager:create "t")
    assert.is_true(manager:cleanup(run.run_id, { delay = 0.001 }))
  end)
end)
