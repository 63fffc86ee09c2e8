--- A policy of the host's runs in the host's state, under a budget of instructions and time.
local keel = require "keel"
local support = require "support"

local function admit(strategy, budget)
  local manager = assert(keel.run_manager { store = support.open ":memory:", policy_budget = budget })
  local run, err = manager:create_or_reject("t", { multitask_strategy = strategy })
  return run, err, manager
end

describe("A strategy's budget", function()
  after_each(support.clean_up)

  it("POLICY-8: stops a function that loops for ever, and nothing has changed", function()
    local _, err, manager = admit(function() while true do end end)
    assert.same({ "policy_budget", "custom", "instructions" }, { err.code, err.policy, err.limit })
    assert.is_false(manager:has_inflight "t")
  end)

  it("POLICY-8: cannot be swallowed by pcall", function()
    local caught = 0
    local _, err = admit(function()
      for _ = 1, 1e9 do
        pcall(function() while true do end end)
        caught = caught + 1
      end
      return { admit = true }
    end)
    assert.equal("policy_budget", err.code)
    assert.is_true(caught <= 1)
  end)

  it("may be as small as one instruction and one byte, and not none", function()
    local store = support.open ":memory:"
    assert(keel.run_manager { store = store, policy_budget = { instructions = 1, bytes = 1, seconds = 1e-6 } })
    for _, name in ipairs { "instructions", "bytes", "seconds" } do
      support.invalid("policy_budget", keel.run_manager { store = store, policy_budget = { [name] = 0 } })
    end
  end)

  it("counts across coroutines made inside", function()
    local _, err = admit(function()
      for _ = 1, 1e9 do
        coroutine.wrap(function() for _ = 1, 900 do end end)()
      end
      return { admit = true }
    end)
    assert.equal("policy_budget", err.code)
  end)

  it("is a time as well", function()
    local _, err = admit(function() while true do end end, { instructions = math.maxinteger, seconds = 0.01 })
    assert.same({ "policy_budget", "seconds" }, { err.code, err.limit })
  end)

  it("is enough for a decision within it", function()
    assert.is_truthy(admit(function()
      for _ = 1, 1000 do end
      return { admit = true }
    end, { instructions = 10000, seconds = 10 }))
  end)

  it("of nothing is refused", function()
    support.invalid("policy_budget", keel.run_manager { store = ":memory:", policy_budget = { instructions = 0 } })
    support.invalid("policy_budget", keel.run_manager { store = ":memory:", policy_budget = { seconds = 0 / 0 } })
  end)

  it("may be written as Lua writes large numbers", function()
    local budget = { instructions = 1e5, seconds = 10, bytes = 16 * 2 ^ 20 }
    local _, err = admit(function() while true do end end, budget)
    assert.same({ "instructions", "it spent its budget of 100000 instructions" }, { err.limit, err.reason })
    assert.has_error(function() keel.run_manager { store = ":memory:", policy_budget = { instructions = 0.5 } } end,
      "bad argument #1 to 'run_manager' (option 'instructions' must be a whole number, got 0.5)")
  end)

  it("leaves the host's own debug hook as it was", function()
    local function own() end
    debug.sethook(own, "l", 7)
    local hook, mask, count
    local ok = pcall(function()
      admit(function() return { admit = true } end)
      hook, mask, count = debug.gethook()
    end)
    debug.sethook()
    assert.is_true(ok)
    assert.same({ own, "l", 7 }, { hook, mask, count })
  end)

  it("F-45: lets a count of the host's go on where it was, however short the time between two decisions", function()
    local manager = assert(keel.run_manager { store = support.open ":memory:" })
    local function decide() return { admit = false } end
    local fired, calls = 0, 0
    debug.sethook(function() fired = fired + 1 end, "", 5000) -- more than a call has: it fires once in one
    local hook, mask, count = debug.gethook()
    local ok = pcall(function()
      while fired < 3 and calls < 10000 do
        manager:create_or_reject("t", { multitask_strategy = decide })
        calls = calls + 1
      end
    end)
    local after = { debug.gethook() }
    debug.sethook()
    assert.is_true(ok)
    assert.same({ hook, mask, count }, after)
    assert.equal(3, fired)
  end)

  it("F-45: lets a host's count go on when a decision is stopped or fails", function()
    local kernel = require "keel.kernel"
    local fired, calls = 0, 0
    debug.sethook(function() fired = fired + 1 end, "", 1000)
    while fired < 3 and calls < 10000 do
      kernel.bounded_call(function() while true do end end, 100, 10)
      kernel.bounded_call(error, 100, 10)
      calls = calls + 1
    end
    debug.sethook()
    assert.equal(3, fired)
    assert.is_true(calls < 1000, tostring(calls))
  end)

  it("holds for a policy that asks another one", function()
    local kernel = require "keel.kernel"
    local function inner() return "inner" end
    local ok, result = kernel.bounded_call(function()
      return select(2, kernel.bounded_call(inner, 1000, 10)) .. ", outer"
    end, 1000, 10)
    assert.same({ true, "inner, outer" }, { ok, result })
    local _, what, limit = kernel.bounded_call(function()
      kernel.bounded_call(inner, 1000, 10)
      while true do end
    end, 1000, 10)
    assert.same({ "budget", "instructions" }, { what, limit })
  end)

  it("a coroutine that outlives the call is not counted any more", function()
    local left
    assert.is_truthy(admit(function()
      left = coroutine.create(function()
        coroutine.yield()
        for _ = 1, 3e6 do end
        return "done"
      end)
      coroutine.resume(left)
      return { admit = true }
    end))
    assert.same({ true, "done" }, { coroutine.resume(left) })
  end)

  it("a policy that yields fails, and nothing has changed", function()
    local _, err, manager = admit(function() coroutine.yield() end)
    assert.equal("policy_failed", err.code)
    assert.is_false(manager:has_inflight "t")
  end)
end)
