--- A run whose deadline passes has timed out, whoever notices first.
local new_pair = require "support.pair"
local support = require "support"

describe("A deadline", function()
  local pair, deadline
  after_each(support.clean_up)

  before_each(function()
    pair = new_pair()
    deadline = "2026-01-01T03:30:10+03:30" -- ten seconds from now, in another place
  end)

  local function timed_out(run_id)
    local run = pair.ours:get(run_id)
    assert.same({ "timeout", "deadline" }, { run.status, run.stop_reason })
    assert.is_string(run.ended_at)
  end

  for _, call in ipairs { "heartbeat", "tick" } do
    it("RUN-39: is kept by the owner's " .. call, function()
      local run, other = pair.started { deadline = deadline }, pair.started(nil, "u")
      pair.clock.advance(9.9)
      assert.same({}, assert(pair.theirs[call](pair.theirs)).expired)
      pair.clock.advance(0.1)
      assert.same({ run.run_id }, support.pluck(assert(pair.theirs[call](pair.theirs)).expired, "run_id"))
      assert.same({ "timeout", true }, { run.status, run.abort_event:is_set() })
      timed_out(run.run_id)
      assert.equal("running", other.status)
      assert.same({}, assert(pair.theirs[call](pair.theirs)).expired)
      assert.equal("invalid_transition", select(2, pair.theirs:set_status(run.run_id, "success")).code)
    end)
  end

  it("RUN-39: of a run that has not started is kept by the owner, too", function()
    local run = assert(pair.theirs:create("t", { deadline = deadline }))
    pair.clock.advance(10)
    assert.equal(run, assert(pair.theirs:heartbeat()).expired[1])
    timed_out(run.run_id)
  end)

  it("RUN-39: is kept by try_start", function()
    local run = assert(pair.theirs:create("t", { deadline = deadline }))
    pair.clock.advance(10)
    assert.equal("cancelled", pair.theirs:try_start(run.run_id))
    assert.same({ "timeout", true }, { run.status, run.abort_event:is_set() })
    timed_out(run.run_id)
    assert.same({ "run_created", "run_finished" },
      support.pluck(support.events(pair.ours_store, { run_id = run.run_id }), "kind"))
  end)

  it("RUN-39: does not keep a run from starting before it", function()
    local run = assert(pair.theirs:create("t", { deadline = deadline }))
    pair.clock.advance(9.9)
    assert.equal("started", pair.theirs:try_start(run.run_id))
  end)

  for _, reconciler in ipairs { "fail_orphans", "requeue_orphans", "expire_deadlines" } do
    it("RUN-39: is kept by another process's " .. reconciler .. " while the owner is there", function()
      local run, other = pair.started { deadline = deadline }, pair.started(nil, "u")
      local function recover()
        return assert(pair.ours:reconcile_orphaned_inflight_runs { reconciler = reconciler })
      end
      pair.clock.advance(9.9)
      assert.same({}, recover())
      pair.clock.advance(0.1)
      assert.same({ run.run_id }, support.pluck(recover(), "run_id"))
      timed_out(run.run_id)
      assert.equal(run, assert(pair.theirs:heartbeat()).lost[1])
      pair.is_shut_out(pair.theirs, run.run_id)
      assert.equal("running", other.status)
    end)
  end

  it("RUN-39: of a run that nobody has claimed is kept by reconciliation; nobody claims it", function()
    local run = assert(pair.theirs:create("t", { deadline = deadline, claimable = true }))
    pair.clock.advance(10)
    assert.is_nil(pair.ours:claim_next())
    assert.same({ run.run_id }, support.pluck(assert(pair.ours:tick()).recovered, "run_id"))
    timed_out(run.run_id)
  end)

  it("RUN-39: of a run in the way is kept by the one who waits", function()
    local run = pair.started { deadline = deadline }
    local new = assert(pair.ours:create_or_reject("t", { multitask_strategy = "enqueue" }))
    assert.equal("waiting", pair.ours:try_start(new.run_id))
    pair.clock.advance(10)
    assert.equal("started", pair.ours:try_start(new.run_id))
    timed_out(run.run_id)
  end)

  it("RUN-39: of a run in the way is kept by an admission", function()
    local run = pair.started { deadline = deadline }
    support.refused("conflict", pair.ours:create_or_reject "t")
    pair.clock.advance(10)
    assert(pair.ours:create_or_reject "t")
    timed_out(run.run_id)
  end)

  it("RUN-39: a run that ended before it keeps its end", function()
    local run = pair.started { deadline = deadline }
    assert(pair.theirs:set_status(run.run_id, "success"))
    pair.clock.advance(100)
    assert.same({}, assert(pair.theirs:tick()).expired)
    assert.same({}, assert(pair.ours:reconcile_orphaned_inflight_runs()))
    assert.equal("success", pair.ours:get(run.run_id).status)
  end)

  it("RUN-39: that cannot be recorded is told, and recorded at the next heartbeat", function()
    local wrapped = support.wrap(pair.theirs_store, { update_status = function(forward, run_id, status, ...)
      if status == "timeout" and pair.failing then return nil, support.broken() end
      return forward(run_id, status, ...)
    end })
    local manager = support.manager(wrapped)
    local run = pair.started({ deadline = deadline }, "t", manager)
    pair.clock.advance(10)
    pair.failing = true
    local report, err = manager:heartbeat()
    assert.same({ {}, "store_corrupt" }, { report.expired, err.code })
    assert.equal("running", run.status)
    pair.failing = false
    assert.equal(run, assert(manager:heartbeat()).expired[1])
  end)

  it("that is no time is refused", function()
    support.invalid("deadline", pair.theirs:create("t", { deadline = "tomorrow" }))
    support.raises("deadline", pair.theirs.create, pair.theirs, "t", { deadline = {} })
  end)
end)
