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
    assert.equal(3600, decide("23:00:00", { from = "22:00", to = "24:00" }).delay)
  end)

  it("refuses instead, if the caller would rather know", function()
    assert.same({ admit = false, reason = "maintenance until 04:00 UTC" }, decide("03:00:00", { refuse = true }))
  end)

  it("says what is wrong with an option, and nothing is admitted", function()
    for _, wrong in ipairs { "two", "24:01", "25:00", "02:60", 2 } do
      local _, err = testing.decide(POLICY, { options = { from = wrong } })
      assert.same({ "policy_failed", "'" .. wrong .. "' is no time of the day, like 02:00" }, { err.code, err.reason })
    end
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
