--- keel.testing: what the author of a policy has.
local keel = require "keel"
local files = require "support.files"
local support = require "support"
local testing = keel.testing

describe("keel.testing", function()
  after_each(support.clean_up)

  local function write(source)
    local path = support.dir() .. "/mine.lua"
    files.write(path, source)
    return path
  end

  it("asks a file, a loaded policy, a function and a built-in strategy, and gives ids for runs", function()
    local source = "return function(_, runs) return { admit = true, cancel = { runs[1] }, after = runs } end"
    local expected = { admit = true, cancel = { "a" }, action = "interrupt", after = { "a", "b" } }
    local path = write(source)
    for _, policy in ipairs { path, assert(keel.load_policy(path)), assert(load(source))() } do
      assert.same(expected, testing.decide(policy, {}, { "a", testing.pending "b" }))
    end
    assert.same({ admit = false, reason = "the thread has a run in flight" }, testing.decide("reject", {}, { "a" }))
    assert.same({ admit = true, cancel = "all", action = "rollback" }, testing.decide("rollback", {}, { "a" }))
  end)

  it("shows a request and runs as a manager does, but for what is given", function()
    local seen
    local function look(request, inflight)
      seen = { request.thread_id, request.options.max, request.inflight_count, request.now, inflight[2].status,
        inflight[2].losses }
      return { admit = true }
    end
    assert(testing.decide(look, { options = { max = 3 } }, { "a", testing.pending("b", { losses = 2 }) }))
    assert.same({ "t", 3, 2, testing.now, "pending", 2 }, seen)
    assert(testing.decide(look, { inflight_count = 9, now = "2030-01-01T00:00:00+00:00" }, { "a", "b" }))
    assert.same({ 9, "2030-01-01T00:00:00+00:00" }, { seen[3], seen[4] })
  end)

  it("shows a strategy its name, 256 runs, and the time they have left, as a manager does", function()
    local function look(request, inflight)
      local left = inflight[1].start_within
      table.remove(inflight, 1)
      return { admit = true, cancel = { "1" },
        reason = ("%s %d %d %s"):format(request.multitask_strategy, #inflight, request.inflight_count, left) }
    end
    local runs = { testing.pending("1", { start_by = "2026-01-01T00:00:03.500000Z" }) }
    for i = 2, 300 do runs[i] = testing.pending(tostring(i)) end
    assert.equal("custom 255 300 3.5", assert(testing.decide(look, {}, runs)).reason)
    assert.is_nil(runs[1].start_within)
    local decision = testing.decide("debounce", {}, { testing.pending("a", { multitask_strategy = "debounce" }) })
    assert.equal("a", decision.replace)
  end)

  it("checks a decision as admission does, and an outcome as recovery does", function()
    assert.matches("unknown field", support.refused("policy_failed",
      (function(decision, err) return decision, err end)(
        testing.decide(write "return function() return { admit = true, x = 1 } end"))).reason)
    local _, err = testing.reconcile(write "return function() return { status = 'pending' } end", testing.run "a")
    assert.same({ "policy_failed", "mine" }, { err.code, err.policy })
    _, err = testing.diagnose(write "return function() return { { severity = 'info' } } end", {})
    assert.same({ "policy_failed", "a diagnostic's code must be a string" }, { err.code, err.reason })
    for _, noticed in ipairs { "1", "{ severity = 'info', code = 'c', message = 'm' }" } do
      _, err = testing.diagnose(write("return function() return " .. noticed .. " end"), {})
      assert.matches("list of diagnostics", err.reason)
    end
    for _, one in ipairs { "code = '', message = 'm'", "code = 'a\\u{85}', message = 'm'",
      "code = 'c', message = '\\xff'" } do
      _, err = testing.diagnose(write("return function() return { { severity = 'info', " .. one .. " } } end"), {})
      assert.matches("UTF%-8", err.reason)
    end
    local loud = "return function() return { { severity = 'loud', code = 'c', message = 'm' } } end"
    _, err = testing.diagnose(write(loud), {})
    assert.same({ "policy_failed", "a diagnostic's severity must be info, warning or error" }, { err.code, err.reason })
    assert.same({}, testing.diagnose(write "return function() end", {}))
  end)

  it("has the sandbox and the budget of a manager, and tells what a file used", function()
    local path = write "return function(request) for _ = 1, request.options.n do end return { admit = true } end"
    local _, err = testing.decide(path, { options = { n = 1e9 } })
    assert.same({ "policy_budget", "instructions", 1 }, { err.code, err.limit, err.line })
    _, err = testing.decide(path, { options = { n = 1000 } }, {}, nil, { instructions = 500 })
    assert.equal("policy_budget", err.code)
    support.invalid("policy_budget", testing.decide(path, { options = { n = 1 } }, {}, nil, { seconds = 0 }))
    local decision, _, usage = testing.decide(path, { options = { n = 1000 } })
    assert.same({ admit = true }, decision)
    assert.is_true(usage.instructions >= 1000 and usage.instructions < 1200, tostring(usage.instructions))
    assert.is_true(usage.bytes > 0 and usage.bytes < 10000, tostring(usage.bytes))
  end)

  it("says what is wrong with a file that is not there, and raises for a name that is not", function()
    support.refused("policy_failed", (function(decision, err) return decision, err end)(testing.decide "./none.lua"))
    support.raises("built-in", testing.decide, "none")
    support.raises("decide", testing.decide, {})
    support.raises("#5 to 'decide' (unknown option", testing.decide, "reject", {}, {}, nil, { time = 1 })
    support.raises("#3 to 'diagnose' (unknown option", testing.diagnose, "worker.tools_less", {}, { time = 1 })
    support.raises("#2 to 'decide' (table expected", testing.decide, "reject", "fields")
    support.raises("#3 to 'decide' (table expected", testing.decide, "reject", {}, "a run")
    support.raises("(string|table expected, got number", testing.decide, "reject", {}, { 5 })
    support.raises("#1 to 'inflight' (table expected", testing.inflight)
    support.raises("#1 to 'pending' (string expected", testing.pending)
    support.raises("#1 to 'advance' (number expected, got table", testing.clock().advance, testing.clock(), 5)
    support.raises("#1 to 'store' (table expected", testing.store, os.time)
    support.raises("#2 to 'reconcile' (table expected", testing.reconcile, "fail_orphans", "a run")
    support.raises("#3 to 'reconcile' (table expected", testing.reconcile, "fail_orphans", testing.run "a", "now")
    support.raises("#2 to 'diagnose' (table expected", testing.diagnose, "worker.tools_less")
    support.raises("#1 to 'clock' (number|string expected", testing.clock, {})
  end)

  it("asks built-in reconcilers and rules too", function()
    assert.equal("error", testing.reconcile("fail_orphans", testing.run "a").status)
    assert.is_nil(testing.reconcile("expire_deadlines", testing.run "a"))
    local snapshot = { cause = "worker_created", worker = { worker_ref = "w", requested_capabilities = {} } }
    assert.equal("worker.tools_less", assert(testing.diagnose("worker.tools_less", snapshot))[1].code)
  end)

  it("asks schedule policies, and checks that the time is later", function()
    local function hourly(last) return (last:gsub("T%d%d", "T23")) end
    assert.equal("2026-01-01T23:00:00+00:00", testing.next_time(hourly))
    assert.equal("2026-01-01T00:01:30+00:00",
      testing.next_time(function() return 30 end, testing.now, "2026-01-01T00:01:00Z"))
    local err = support.refused("policy_failed", testing.next_time(function(last) return last end))
    assert.truthy(err.message:find("not later", 1, true), err.message)
    support.refused("policy_failed", testing.next_time(function() return {} end))
    support.invalid("now", testing.next_time(hourly, nil, "today"))
    support.raises("next_time", testing.next_time, hourly, 5)
  end)

  it("has a clock that stands still, and a store in memory on it", function()
    local store <close>, clock = testing.store(testing.clock "2026-05-01T10:00:00+02:00")
    assert.same({ "2026-05-01T08:00:00+00:00", "memory" }, { store:now(), store:backend() })
    clock.advance(1.5)
    assert.same({ "2026-05-01T08:00:01.500000+00:00", store:now() }, { clock.text(), store:now() })
  end)
end)
