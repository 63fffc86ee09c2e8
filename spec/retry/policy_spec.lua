local keel = require "keel"
local support = require "support"

local function recording(options)
  local waits = {}
  options = options or {}
  options.sleep = function(seconds) waits[#waits + 1] = seconds end
  return keel.retry_policy(options), waits
end

--- A function that fails `times` times with err (raised when it is a text), then gives its arguments back.
local function failing(times, err)
  local calls = 0
  return function(...)
    calls = calls + 1
    if calls > times then return ... end
    if type(err) == "string" then error(err, 0) end
    return nil, err
  end, function() return calls end
end

describe("policy:delay", function()
  it("doubles from 50 ms to at most a second, by default", function()
    local policy = keel.retry_policy {}
    local delays = {}
    for i = 1, 7 do delays[i] = policy:delay(i) end
    assert.same({ 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0 }, delays)
  end)

  it("follows what it was given", function()
    local policy = keel.retry_policy { initial_delay = 1, backoff_factor = 3, max_delay = 20 }
    assert.same({ 1.0, 3.0, 9.0, 20.0 }, { policy:delay(1), policy:delay(2), policy:delay(3), policy:delay(4) })
  end)

  it("is shortened by chance, as far as the jitter goes", function()
    local policy = keel.retry_policy { initial_delay = 1, jitter = 0.5 }
    assert.same({ 1.0, 1.0, 0.75, 0.5 },
      { policy:delay(1), policy:delay(1, 0), policy:delay(1, 0.5), policy:delay(1, 1.0) })
  end)

  it("is pure: asked again it says the same", function()
    local policy = keel.retry_policy { jitter = 0 }
    policy:delay(5)
    assert.equal(0.05, policy:delay(1))
    assert.equal(0.05, keel.retry_policy():delay(1))
  end)

  it("stays finite however often it is asked", function()
    local policy = keel.retry_policy { backoff_factor = 10, max_delay = 3 }
    for _, n in ipairs { 100, 10000, math.maxinteger } do assert.equal(3.0, policy:delay(n)) end
  end)

  it("with jitter takes only away, and never more than its part", function()
    local policy = keel.retry_policy { jitter = 0.5 }
    for n = 1, 6 do
      local whole = keel.retry_policy():delay(n)
      for _ = 1, 50 do
        local delay = policy:delay(n)
        assert.is_true(delay <= whole and delay >= whole * 0.5 - 1e-9, delay)
      end
    end
  end)
end)

describe("policy:call", function()
  it("gives what the function gives, with its arguments, at the first success", function()
    local policy, waits = recording()
    local fn, calls = failing(0)
    assert.same({ 1, nil, 3, n = 3 }, table.pack(policy:call(fn, 1, nil, 3)))
    assert.same({ 1, 0 }, { calls(), #waits })
  end)

  it("waits between the attempts as its delays say, and then succeeds", function()
    local policy, waits = recording()
    local fn, calls = failing(3, support.busy())
    assert.equal("x", policy:call(fn, "x"))
    assert.equal(4, calls())
    assert.same({ 0.05, 0.1, 0.2 }, waits)
  end)

  it("gives the last error when the attempts are used up", function()
    for attempts = 1, 4 do
      local policy, waits = recording { max_attempts = attempts }
      local fn, calls = failing(math.huge, support.busy())
      support.refused("busy", policy:call(fn))
      assert.same({ attempts, attempts - 1 }, { calls(), #waits })
    end
  end)

  it("takes false and nothing for a result, not for a failure", function()
    local policy = recording()
    for _, result in ipairs { { false, n = 1 }, { n = 0 }, { nil, nil, n = 2 } } do
      local calls = 0
      local got = table.pack(policy:call(function()
        calls = calls + 1
        return table.unpack(result, 1, result.n)
      end))
      assert.equal(1, calls)
      assert.equal(result[1], got[1])
    end
  end)

  it("waits through the sleep of the store it is called with, when it has none of its own", function()
    local waits = {}
    local store = support.open(":memory:", { sleep = function(seconds) waits[#waits + 1] = seconds end })
    local fn, calls = failing(2, support.busy())
    assert.equal(store, keel.retry_policy():call(fn, store))
    assert.same({ 3, { 0.05, 0.1 } }, { calls(), waits })
    store:close()
  end)

  it("waits so that a coroutine may yield, and gives the result afterwards", function()
    local policy = keel.retry_policy { sleep = coroutine.yield, initial_delay = 0.5 }
    local fn = failing(2, support.busy())
    local work = coroutine.wrap(function() return policy:call(fn, "done") end)
    assert.equal(0.5, work())
    assert.equal(1.0, work())
    assert.equal("done", work())
  end)
end)

describe("Transient", function()
  local TRANSIENT = {
    ["an error that says so"] = { code = "anything", message = "x", transient = true },
    ["a raised: database is locked"] = "database is locked",
    ["a raised: database table is locked"] = "db.lua:7: database table is locked: runs",
    ["a raised: database is busy"] = "the database is busy",
  }
  for what, err in pairs(TRANSIENT) do
    it("is " .. what, function()
      local policy = recording()
      local fn, calls = failing(1, err)
      assert.equal("x", policy:call(fn, "x"))
      assert.equal(2, calls())
    end)
  end

  local PERMANENT = {
    ["an error that does not say so"] = { code = "busy", message = "database is locked" },
    ["an error that denies it"] = { code = "busy", message = "database is locked", transient = false },
    ["a constraint"] = "UNIQUE constraint failed: runs.run_id",
    ["damage"] = "database disk image is malformed",
    ["a full disk"] = "database or disk is full",
    ["an I/O error"] = "disk I/O error",
    ["a missing table"] = "no such table: runs",
    ["a lock of something else"] = "the door is locked",
  }
  for what, err in pairs(PERMANENT) do
    it("is not " .. what .. ": it is tried once", function()
      local policy, waits = recording()
      local fn, calls = failing(math.huge, err)
      local ok, result, failure = pcall(policy.call, policy, fn)
      assert.same({ 1, 0 }, { calls(), #waits })
      local told = ok and failure or result
      if type(err) == "string" then assert.truthy(tostring(told):find(err, 1, true))
      else assert.equal(err, told) end
    end)
  end
end)

describe("keel.retry_policy takes", function()
  it("what lies at the edge of sense", function()
    assert.equal(0.0, assert(keel.retry_policy { initial_delay = 0 }):delay(3))
    assert.equal(0.05, assert(keel.retry_policy { backoff_factor = 1 }):delay(9))
    assert.is_true(assert(keel.retry_policy { jitter = 1 }):delay(1) <= 0.05)
  end)
end)

describe("keel.retry_policy refuses", function()
  it("unknown options and wrong types, naming them", function()
    support.raises("attempts", keel.retry_policy, { attempts = 3 })
    support.raises("max_attempts", keel.retry_policy, { max_attempts = "many" })
    support.raises("sleep", keel.retry_policy, { sleep = 1 })
    support.raises({ "options", "#1" }, keel.retry_policy, 5)
  end)

  it("what makes no sense", function()
    for name, value in pairs {
      max_attempts = 0, initial_delay = -1, max_delay = -1, backoff_factor = 0.5, jitter = 1.5,
    } do
      local ok, policy, err = pcall(keel.retry_policy, { [name] = value })
      assert.is_true(not ok or policy == nil, name)
      assert.truthy(tostring(ok and err.field or policy):find(name, 1, true))
    end
  end)

  it("endless retry: infinity is no number of attempts", function()
    local ok, policy = pcall(keel.retry_policy, { max_attempts = math.huge })
    assert.is_true(not ok or policy == nil)
  end)

  it("a call without a function", function()
    assert.is_false(pcall(keel.retry_policy().call, keel.retry_policy(), "not a function"))
  end)
end)

describe("The options of a retry policy", function()
  it("are none yet: what takes a policy raises for them at once, and not at the first busy moment", function()
    local options = { max_attempts = 2 }
    for _, name in ipairs { "run_manager", "dispatcher", "runtime" } do
      support.raises("'retry' must be a retry policy", keel[name], { retry = options })
      assert.truthy(keel[name] { store = ":memory:", retry = keel.retry_policy(options) })
    end
    local manager = assert(keel.run_manager { store = ":memory:" })
    support.raises("'backoff' must be a retry policy", keel.executor,
      { manager = manager, handlers = {}, backoff = options })
  end)
end)
