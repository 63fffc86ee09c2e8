--- What a process that was late must not do, nor be spared.
local LiveRuns = require "keel.manager.live_runs"
local support = require "support"

describe("A run with a deadline that has passed", function()
  after_each(support.clean_up)

  it("RUN-39: times out, and holds nobody up, though its reconciler wants it requeued", function()
    local clock = support.clock()
    local store = support.open(":memory:", { clock = clock.read, monotonic = clock.read })
    local manager = support.manager(store, { reconcilers = { again = function() return { requeue = true } end } })
    assert(store:put("old", { thread_id = "t", reconciler = "again", deadline = store:now() }))
    assert.truthy((manager:create_or_reject "t"))
    local row = store:get "old"
    assert.same({ "timeout", 0 }, { row.status, row.losses })
  end)

  it("RUN-39: cannot have a time that is none, whatever the strategy", function()
    local manager = support.manager(support.open ":memory:")
    support.invalid("scheduled_at",
      manager:create_or_reject("t", { scheduled_at = "soon", multitask_strategy = "debounce" }))
  end)
end)

describe("An owner", function()
  after_each(support.clean_up)

  it("OWN-9: that cancels after it was asked to roll back is told what holds", function()
    local path = support.path()
    local first, second = support.open(path), support.open(path)
    local mine, theirs = support.manager(first), support.manager(second)
    local run = assert(mine:create "t")
    assert.equal("started", mine:try_start(run.run_id))
    assert.same({ true, "requested" }, { theirs:cancel(run.run_id, { action = "rollback" }) })
    assert.same({ true, "cancelled" }, { mine:cancel(run.run_id, { action = "interrupt" }) })
    assert.same({ "rollback", "rollback" }, { run.cancel_action, run.abort_action })
  end)

  it("OWN-8: that lost a run is refused for good, whoever remembers its record", function()
    local path, clock = support.path(), support.clock()
    local mine = support.manager(support.open(path, { clock = clock.read, monotonic = clock.read }), { lease_ttl = 1 })
    local theirs = support.manager(support.open(path, { clock = clock.read, monotonic = clock.read }))
    local run_id = assert(mine:create "t").run_id
    assert.equal("started", mine:try_start(run_id))
    assert.same({}, assert(theirs:tick()).recovered)
    clock.advance(10)
    assert.equal(1, #assert(theirs:reconcile_orphaned_inflight_runs()))
    support.refused("stale_owner", mine:update_run_completion(run_id, { status = "success", total_tokens = 9 }))
    for i = 1, 40 do
      local other = assert(mine:create("u" .. i))
      assert(mine:set_status(other.run_id, "success"))
    end
    collectgarbage()
    collectgarbage()
    support.refused("stale_owner", mine:update_run_completion(run_id, { status = "success", total_tokens = 9 }))
  end)

  it("OWN-7: that claims again what it had lost stops the one who worked on it", function()
    local path, clock = support.path(), support.clock()
    local mine = support.manager(support.open(path, { clock = clock.read, monotonic = clock.read }), { lease_ttl = 1 })
    local theirs = support.manager(support.open(path, { clock = clock.read, monotonic = clock.read }))
    assert(mine:create("t", { claimable = true }))
    local before = assert(mine:claim_next())
    assert.same({}, assert(theirs:tick()).recovered)
    clock.advance(10)
    assert(theirs:reconcile_orphaned_inflight_runs { reconciler = "requeue_orphans" })
    local after = assert(mine:claim_next())
    assert.equal(before.run_id, after.run_id)
    assert.same({ true, false }, { before.abort_event:is_set(), after.abort_event:is_set() })
  end)
end)

describe("The runs that a process has lost", function()
  it("OWN-8: are remembered, the last 1024 of them", function()
    local live = LiveRuns.new()
    local function lose(run_id)
      local record = { run_id = run_id, thread_id = "t", status = "running" }
      live:add(record)
      live:lose(record)
    end
    lose "first"
    lose "again"
    for i = 1, 1022 do lose("r" .. i) end
    assert.is_true(live:is_lost "first")
    lose "again" -- claimed here once more, and lost once more: it counts from now
    assert.is_false(live:is_lost "first")
    lose "another"
    assert.is_true(live:is_lost "again")
    lose "third"
    assert.is_false(live:is_lost "r1")
  end)
end)
