--- The built-in strategies that make newcomers wait, as the pure functions they are: no store here.
local strategy = require "support.strategy"
local run, pending, decide = strategy.run, strategy.pending, strategy.decide

local function ids(list) return list or {} end

describe("POLICY-1: allow", function()
  it("admits, whatever is in flight, and asks for nothing else", function()
    assert.same({ admit = true }, decide("allow", {}))
    assert.same({ admit = true }, decide("allow", { run "a", pending "b" }))
  end)
end)

describe("POLICY-1: enqueue", function()
  it("admits, one to run at a time", function()
    for _, inflight in ipairs { {}, { run "a" }, { run "a", pending "b" } } do
      local decision = decide("enqueue", inflight)
      assert.same({ true, 1 }, { decision.admit, decision.concurrency })
      assert.is_nil(decision.cancel)
    end
  end)

  it("POLICY-3: beyond max_waiting refuses, with the position it would have had", function()
    local options = { options = { max_waiting = 2 } }
    assert.is_true(decide("enqueue", { run "a", pending "b" }, options).admit)
    local decision = decide("enqueue", { run "a", pending "b", pending "c" }, options)
    assert.same({ false, 3 }, { decision.admit, decision.position })
    assert.is_string(decision.reason)
  end)

  it("POLICY-3: counts as running the first in flight, though it has not started yet", function()
    assert.is_true(decide("enqueue", { pending "a" }, { options = { max_waiting = 1 } }).admit)
    assert.is_false(decide("enqueue", { pending "a", pending "b" }, { options = { max_waiting = 1 } }).admit)
  end)

  it("POLICY-3: with max_waiting = 0 admits on a free thread only", function()
    assert.is_true(decide("enqueue", {}, { options = { max_waiting = 0 } }).admit)
    local decision = decide("enqueue", { run "a" }, { options = { max_waiting = 0 } })
    assert.same({ false, 1 }, { decision.admit, decision.position })
  end)

  it("POLICY-3: goes by the exact count, not by what it is shown", function()
    local decision = decide("enqueue", { run "a" }, { inflight_count = 1000, options = { max_waiting = 999 } })
    assert.same({ false, 1000 }, { decision.admit, decision.position })
  end)
end)

describe("POLICY-1: limit", function()
  it("admits, max to run at a time, one when that is not said", function()
    assert.same({ admit = true, concurrency = 3 }, decide("limit", { run "a" }, { options = { max = 3 } }))
    assert.same({ admit = true, concurrency = 1 }, decide("limit", {}))
  end)

  it("refuses beyond max_waiting, with the position it would have had", function()
    local options = { options = { max = 2, max_waiting = 1 } }
    assert.is_true(decide("limit", { run "a" }, options).admit)
    assert.is_true(decide("limit", { run "a", run "b" }, options).admit)
    local decision = decide("limit", { run "a", run "b", pending "c" }, options)
    assert.same({ false, 2 }, { decision.admit, decision.position })
  end)

  it("with max_waiting = 0 refuses as soon as all places are taken", function()
    local options = { options = { max = 2, max_waiting = 0 } }
    assert.is_true(decide("limit", { run "a" }, options).admit)
    assert.same({ false, 1 }, { decide("limit", { run "a", run "b" }, options).admit,
      decide("limit", { run "a", run "b" }, options).position })
  end)
end)

describe("POLICY-1: replace_pending", function()
  it("on a free thread admits, one to run at a time", function()
    local decision = decide("replace_pending", {})
    assert.same({ true, 1 }, { decision.admit, decision.concurrency })
    assert.is_nil(decision.replace)
  end)

  it("leaves alone what runs, and waits behind it", function()
    local decision = decide("replace_pending", { run "a" })
    assert.same({ true, 1 }, { decision.admit, decision.concurrency })
    assert.is_nil(decision.replace)
    assert.same({}, ids(decision.cancel))
  end)

  it("takes the place of the one that waits", function()
    local decision = decide("replace_pending", { run "a", pending "b" })
    assert.equal("b", decision.replace)
    assert.same({}, ids(decision.cancel))
  end)

  it("leaves nobody waiting where others let several wait", function()
    local decision = decide("replace_pending", { run "a", pending "b", pending "c" })
    assert.equal("c", decision.replace)
    assert.same({ "b" }, ids(decision.cancel))
  end)
end)

describe("POLICY-1: debounce", function()
  local function waiting(id, within)
    return pending(id, { multitask_strategy = "debounce", start_within = within })
  end

  local function debounce(inflight, options)
    return decide("debounce", inflight, { multitask_strategy = "debounce", options = options })
  end

  it("puts the first call off by wait, and fixes max_wait", function()
    local decision = debounce({}, { wait = 2, max_wait = 7 })
    assert.same({ true, 2, 7 }, { decision.admit, decision.delay, decision.within })
    assert.is_nil(decision.replace)
  end)

  it("F-23: lets one run at a time, or options.max", function()
    assert.equal(1, debounce({}, {}).concurrency)
    assert.equal(3, debounce({}, { max = 3 }).concurrency)
  end)

  it("waits a second, and ten times wait at most, when that is not said", function()
    local decision = debounce({}, {})
    assert.same({ 1, 10 }, { decision.delay, decision.within })
    assert.equal(40, debounce({}, { wait = 4 }).within)
  end)

  it("takes the place of the one that waits, and waits anew", function()
    local decision = debounce({ waiting("a", 7) }, { wait = 2, max_wait = 7 })
    assert.same({ "a", 2, 7 }, { decision.replace, decision.delay, decision.within })
  end)

  it("POLICY-5: never waits longer than what is left of the first call's max_wait", function()
    local decision = debounce({ waiting("a", 1.5) }, { wait = 2, max_wait = 100 })
    assert.same({ 1.5, 1.5 }, { decision.delay, decision.within })
    assert.equal(0, debounce({ waiting("a", 0) }, { wait = 2 }).delay)
  end)

  it("POLICY-5: a max_wait shorter than wait holds for the first call too", function()
    assert.equal(1, debounce({}, { wait = 5, max_wait = 1 }).delay)
  end)

  it("POLICY-5: never touches what has started", function()
    local started = run("a", { multitask_strategy = "debounce", start_within = 1 })
    local decision = debounce({ started }, { wait = 2, max_wait = 7 })
    assert.same({ true, 2, 7 }, { decision.admit, decision.delay, decision.within })
    assert.is_nil(decision.replace)
    assert.is_nil(decision.cancel)
  end)

  it("does not take the place of what another strategy made wait", function()
    local decision = debounce({ pending("a", { multitask_strategy = "enqueue" }) }, {})
    assert.is_nil(decision.replace)
  end)
end)

describe("POLICY-1: preempt", function()
  local function preempt(inflight, priority)
    return decide("preempt", inflight, { priority = priority })
  end

  --- One that waits for its turn, as enqueue and preempt make newcomers wait.
  local function queued(id, priority)
    return pending(id, { priority = priority, concurrency = 1 })
  end

  it("on a free thread admits, one to run at a time", function()
    local decision = preempt({}, 0)
    assert.same({ true, 1 }, { decision.admit, decision.concurrency })
    assert.same({}, ids(decision.cancel))
  end)

  it("POLICY-7: a strictly higher priority interrupts what runs", function()
    local decision = preempt({ run("a", { priority = 1 }) }, 2)
    assert.same({ "a" }, ids(decision.cancel))
    assert.same({ true, 1 }, { decision.admit, decision.concurrency })
    assert.is_true(decision.action == nil or decision.action == "interrupt")
  end)

  for what, priority in pairs { ["an equal"] = 1, ["a lower"] = 0, ["a negative"] = -1 } do
    it("POLICY-7: " .. what .. " priority queues", function()
      local decision = preempt({ run("a", { priority = 1 }) }, priority)
      assert.same({ true, 1 }, { decision.admit, decision.concurrency })
      assert.same({}, ids(decision.cancel))
    end)
  end

  it("POLICY-7: of several that run, it must be higher than all: else it stops none", function()
    local inflight = { run("a", { priority = 1 }), run("b", { priority = 5 }) }
    assert.same({}, ids(preempt(inflight, 5).cancel))
    assert.same({ "a", "b" }, ids(preempt(inflight, 6).cancel))
  end)

  it("POLICY-7: leaves alone what waits for its turn", function()
    assert.same({}, ids(preempt({ queued("a", 1), queued("b", 9) }, 5).cancel))
    assert.same({ "a" }, ids(preempt({ run("a", { priority = 1 }), queued("b", 1) }, 5).cancel))
  end)

  it("POLICY-7: a pending run that may start at any moment counts as one that runs", function()
    assert.same({ "a" }, ids(preempt({ pending("a", { priority = 1 }) }, 2).cancel))
    assert.same({}, ids(preempt({ pending("a", { priority = 2 }) }, 2).cancel))
  end)

  it("POLICY-7: a run without a priority has priority 0", function()
    local nothing_said = run "a"
    nothing_said.priority = nil
    assert.same({ "a" }, ids(preempt({ nothing_said }, 1).cancel))
    assert.same({}, ids(preempt({ nothing_said }, 0).cancel))
  end)
end)
