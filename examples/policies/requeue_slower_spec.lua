local testing = require("keel").testing

local POLICY = debug.getinfo(1, "S").source:match "^@(.*)_spec%.lua$" .. ".lua"

describe("The policy requeue_slower", function()
  local function outcome(fields, context)
    return assert(testing.reconcile(POLICY, testing.run("r", fields), context))
  end

  it("waits longer with each owner that is lost, an hour at most", function()
    local delays = {}
    for losses = 0, 12 do delays[#delays + 1] = outcome({ losses = losses, max_losses = 100 }).delay end
    assert.same({ 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600, 3600 }, delays)
  end)

  it("gives up after five owners, or as many as the run says", function()
    assert.is_true(outcome({ losses = 4 }).requeue)
    assert.same({ "error", "losses_exhausted", "the run lost its owner 6 times" },
      { outcome({ losses = 5 }).status, outcome({ losses = 5 }).error_code, outcome({ losses = 5 }).error })
    assert.equal("error", outcome({ losses = 0, max_losses = 0 }).status)
  end)

  it("does not requeue what is late", function()
    assert.equal("timeout", outcome({}, { cause = "deadline" }).status)
  end)

  it("keeps what the reconciliation says", function()
    assert.equal("the host went down", outcome({}, { error = "the host went down" }).error)
  end)

  it("puts a run back in a store, later each time", function()
    local keel = require "keel"
    local store <close>, clock = testing.store()
    local runs = keel.run_manager { store = store, reconcilers = { slower = assert(keel.load_policy(POLICY)) } }
    assert(store:put("r", { thread_id = "t", reconciler = "slower" })) -- nobody's: an orphan
    local run = assert(runs:reconcile_orphaned_inflight_runs())[1]
    assert.same({ "pending", 1, "2026-01-01T00:00:10+00:00" }, { run.status, run.losses, run.scheduled_at })
    assert.is_nil(store:claim_next())
    clock.advance(10)
    assert.equal("r", store:claim_next().run_id)
  end)
end)
