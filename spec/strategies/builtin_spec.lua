--- The built-in strategies are pure functions of a request and what is in flight: no store here.
local strategy = require "support.strategy"
local run, request, decide = strategy.run, strategy.request, strategy.decide

local function copy(value)
  if type(value) ~= "table" then return value end
  local result = {}
  for k, v in pairs(value) do result[k] = copy(v) end
  return result
end

local NAMES = require("keel.policy").built_in "strategies"

describe("POLICY-1: reject", function()
  it("admits when nothing is in flight", function()
    assert.is_true(decide("reject", {}).admit)
  end)

  it("refuses when something is, and cancels nothing", function()
    local decision = decide("reject", { run "a" })
    assert.is_falsy(decision.admit)
    assert.is_nil(decision.cancel)
  end)

  it("refuses by the exact count as well", function()
    assert.is_falsy(decide("reject", { run("a", { status = "pending" }), run "b" }).admit)
  end)
end)

describe("POLICY-1: interrupt and rollback", function()
  for _, name in ipairs { "interrupt", "rollback" } do
    it(name .. " admits and cancels all, by its own action", function()
      local decision = decide(name, { run "a", run "b" })
      assert.is_true(decision.admit)
      assert.same({ "all", name }, { decision.cancel, decision.action })
    end)

    it(name .. " admits on a free thread", function()
      assert.is_true(decide(name, {}).admit)
    end)
  end
end)

describe("POLICY-1: reuse", function()
  it("admits when nothing is in flight, with or without a fingerprint", function()
    assert.is_true(decide("reuse", {}).admit)
    assert.is_true(decide("reuse", {}, { fingerprint = "f" }).admit)
  end)

  it("gives the run with the same fingerprint", function()
    local decision = decide("reuse", { run("a", { fingerprint = "g" }), run("b", { fingerprint = "f" }) },
      { fingerprint = "f" })
    assert.equal("b", decision.reuse)
    assert.is_falsy(decision.admit)
  end)

  it("refuses another fingerprint", function()
    local decision = decide("reuse", { run("a", { fingerprint = "g" }) }, { fingerprint = "f" })
    assert.is_falsy(decision.admit)
    assert.is_nil(decision.reuse)
  end)

  it("no fingerprint equals nothing, not even no fingerprint", function()
    for _, case in ipairs { { nil, nil }, { nil, "f" }, { "f", nil } } do
      local decision = decide("reuse", { run("a", { fingerprint = case[1] }) }, { fingerprint = case[2] })
      assert.is_falsy(decision.admit)
      assert.is_nil(decision.reuse)
    end
  end)
end)

describe("POLICY-1: every built-in strategy", function()
  for _, name in ipairs(NAMES) do
    it(name .. " leaves what it is shown alone, and decides the same again", function()
      local inflight = { run("a", { fingerprint = "f" }), run "b", strategy.pending "c" }
      local asked = request({ fingerprint = "f" }, inflight)
      local before = copy { asked, inflight }
      local call = require("keel.strategies." .. name)
      local first, second = copy(call(asked, inflight)), copy(call(asked, inflight))
      assert.same(before, { asked, inflight })
      assert.same(first, second)
    end)

    it(name .. " is a few lines, and needs nothing but the basic functions", function()
      local path = assert(package.searchpath("keel.strategies." .. name, package.path))
      local lines = 0
      for _ in io.lines(path) do lines = lines + 1 end
      assert.is_true(lines <= 40)
      local bare = { ipairs = ipairs, pairs = pairs, math = math, string = string, table = table, type = type }
      local call = assert(loadfile(path, "t", bare))()
      assert.is_table(call(request({ fingerprint = "f" }), {}))
      assert.is_table(call(request({ fingerprint = "f" }), { run "a" }))
    end)
  end
end)

describe("the options of a built-in strategy", function()
  it("are those its script looks at", function()
    local options = require "keel.policy.options"
    for _, name in ipairs(NAMES) do
      local file <close> = assert(io.open(assert(package.searchpath("keel.strategies." .. name, package.path))))
      local looked_at = {}
      for option in file:read("a"):gmatch "request%.options%.([%a_]+)" do looked_at[option] = true end
      for _, option in ipairs(options.names(name)) do
        assert.is_true(looked_at[option], name .. ": " .. option)
        looked_at[option] = nil
      end
      assert.is_nil(next(looked_at), name)
    end
    assert.same({}, options.names "mine")
  end)
end)

describe("what a built-in strategy is said to decide on an idle thread", function()
  it("is what its script decides there", function()
    local policies = require "keel.policy"
    local said = 0
    for _, name in ipairs(NAMES) do
      local idle = policies.find("strategies", name).idle
      if idle then
        said = said + 1
        local decided = require("keel.strategies." .. name)(request({}, {}), {})
        assert.same({ idle.admit, idle.concurrency, idle.delay }, { decided.admit, decided.concurrency, decided.delay },
          name)
        assert.is_nil(decided.replace or decided.reuse or decided.within or decided.reason or decided.strict)
        assert.is_nil(next(decided.after or {}))
      end
    end
    assert.equal(9, said)
  end)
end)
