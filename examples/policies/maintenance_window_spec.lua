local testing = require("keel").testing

local POLICY = debug.getinfo(1, "S").source:match "^@(.*)_spec%.lua$" .. ".lua"

describe("The policy maintenance_window", function()
  local function decide(time, options)
    return assert(testing.decide(POLICY, { now = "2026-01-01T" .. time .. "+00:00", options = options or {} }))
  end

  it("lets everything through outside of the window", function()
    for _, time in ipairs { "00:00:00", "01:59:59.999999", "04:00:00", "23:59:59" } do
      assert.same({ admit = true }, decide(time))
    end
  end)

  it("puts off to its end what comes in it", function()
    assert.same({ admit = true, delay = 7200, reason = "maintenance until 04:00 UTC" }, decide "02:00:00")
    assert.equal(0.5, decide("03:59:59.500000").delay)
  end)

  it("may go over midnight", function()
    local night = { from = "22:30", to = "01:00" }
    assert.equal(9000, decide("22:30:00", night).delay)
    assert.equal(3600, decide("00:00:00", night).delay)
    assert.same({ admit = true }, decide("01:00:00", night))
    assert.same({ admit = true }, decide("22:29:59", night))
  end)

  it("refuses instead, if the caller would rather know", function()
    assert.same({ admit = false, reason = "maintenance until 04:00 UTC" }, decide("03:00:00", { refuse = true }))
  end)

  it("says what is wrong with an option, and nothing is admitted", function()
    local _, err = testing.decide(POLICY, { options = { from = "two" } })
    assert.same({ "policy_failed", "'two' is no time of the day, like 02:00" }, { err.code, err.reason })
  end)

  it("holds a run back until the window is over", function()
    local keel = require "keel"
    local store <close>, clock = testing.store(testing.clock "2026-01-01T03:59:00Z")
    local runs = keel.run_manager { store = store }
    local run = assert(runs:create_or_reject("t", { multitask_strategy = assert(keel.load_policy(POLICY)) }))
    assert.equal("waiting", runs:try_start(run.run_id))
    clock.advance(60)
    assert.equal("started", runs:try_start(run.run_id))
  end)
end)
