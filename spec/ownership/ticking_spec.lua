--- What a host does now and then: one bounded step of heartbeat and recovery.
local new_pair = require "support.pair"
local support = require "support"

local PAGE <const> = 64 -- runs that one tick looks at

describe("tick", function()
  local pair
  after_each(support.clean_up)

  before_each(function() pair = new_pair { lease_ttl = 10 } end)

  local function ids(count, prefix)
    local list = {}
    for i = 1, count do list[i] = ("%s%04d"):format(prefix or "r", i) end
    return list
  end

  -- Runs that are nobody's.
  local function leave(list)
    assert(pair.theirs_store:transaction(function(tx)
      for _, id in ipairs(list) do assert(tx:put(id, { thread_id = id, status = "running" })) end
      return true
    end))
  end

  it("is a heartbeat too: renews, and tells what was lost, asked for and expired", function()
    local asked, lost, kept = pair.started(nil, "a"), pair.started(nil, "b"), pair.started(nil, "c")
    local late = pair.started({ deadline = "2026-01-01T00:00:05Z" }, "d")
    pair.ours:cancel(asked.run_id)
    assert(pair.ours_store:requeue(lost.run_id))
    pair.clock.advance(5)
    local report = assert(pair.theirs:tick())
    assert.same({ 3, lost, asked, late, {} },
      { report.renewed, report.lost[1], report.cancel_requested[1], report.expired[1], report.recovered })
    assert.equal("running", kept.status)
  end)

  it("recovers what the dead left", function()
    local run = pair.started()
    pair.theirs_store:close()
    local recovered = assert(pair.ours:tick()).recovered
    assert.same({ run.run_id }, support.pluck(recovered, "run_id"))
    assert.same({ "error", "orphan_recovered" }, { recovered[1].status, recovered[1].stop_reason })
    assert.same({}, assert(pair.ours:tick()).recovered)
  end)

  it("OWN-2: leaves the runs of live sessions and claimable ones as they are", function()
    pair.started(nil, "a")
    pair.started(nil, "b", pair.ours)
    assert(pair.theirs:create("c", { claimable = true }))
    local events = #support.events(pair.ours_store)
    local before = pair.ours_store:list_inflight()
    for _ = 1, 3 do assert.same({}, assert(pair.ours:tick()).recovered) end
    local after = pair.ours_store:list_inflight()
    for i, run in ipairs(before) do
      run.lease_expires_at, after[i].lease_expires_at = nil, nil
      assert.same(run, after[i])
    end
    assert.equal(events, #support.events(pair.ours_store))
  end)

  it("looks at a page of runs a call, goes on at the next, and reaches all", function()
    leave(ids(PAGE * 2 + 10))
    local wrapped, calls = support.wrap(pair.ours_store)
    local manager, sums = support.manager(wrapped), {}
    for i = 1, 3 do
      local before = calls.list_inflight
      sums[i] = #assert(manager:tick()).recovered
      assert.equal(1, calls.list_inflight - before)
    end
    assert.same({ PAGE, PAGE, 10 }, sums)
    assert.same({}, pair.ours_store:list_inflight())
    assert.same({}, assert(manager:tick()).recovered)
  end)

  it("gets past pages of runs that are alive, and starts over at the end", function()
    for i = 1, PAGE * 2 do pair.started(nil, "live" .. i) end
    leave { "stale" }
    local found = {}
    for i = 1, 3 do found[i] = #assert(pair.ours:tick()).recovered end
    assert.same({ 0, 0, 1 }, found)
    leave { "another" }
    local sum = 0
    for _ = 1, 3 do sum = sum + #assert(pair.ours:tick()).recovered end
    assert.equal(1, sum)
  end)

  it("gets past the run it stopped at when that is deleted", function()
    for i = 1, PAGE do pair.started(nil, "live" .. i) end
    leave { "stale" }
    assert.same({}, assert(pair.ours:tick()).recovered)
    assert(pair.ours_store:delete(pair.ours_store:list_inflight({ limit = PAGE })[PAGE].run_id))
    local sum = 0
    for _ = 1, 2 do sum = sum + #assert(pair.ours:tick()).recovered end
    assert.equal(1, sum)
  end)

  it("takes the reconciler it is given, and a run's own first", function()
    leave { "plain" }
    assert(pair.theirs_store:put("choosy", { thread_id = "x", status = "running", reconciler = "its_own" }))
    local manager = support.manager(pair.ours_store, { reconcilers = {
      its_own = function() return { status = "interrupted", error = "own" } end,
    } })
    assert.equal(2, #assert(manager:tick { reconciler = "requeue_orphans" }).recovered)
    assert.same({ "pending", 1 }, { manager:get("plain").status, manager:get("plain").losses })
    assert.same({ "interrupted", "own" }, { manager:get("choosy").status, manager:get("choosy").error })
  end)

  it("takes a function, and tells it why the run is there to be recovered", function()
    leave { "nobody's" }
    assert(pair.theirs_store:put("late", { thread_id = "x", deadline = "2026-01-01T00:00:00Z" }))
    local hung = pair.started()
    pair.clock.advance(10)
    local causes = {}
    assert(pair.ours:tick { reconciler = function(run, context)
      causes[run.run_id] = { context.cause, context.now }
      return nil
    end })
    local now = pair.ours_store:now()
    assert.same({ ["nobody's"] = { "owner", now }, late = { "deadline", now }, [hung.run_id] = { "lease", now } },
      causes)
  end)

  for what, reconciler in pairs {
    ["raises"] = function() error "no idea" end,
    ["loops for ever"] = function() while true do end end,
    ["decides nonsense"] = function() return { status = "gone" } end,
  } do
    it("goes on behind a run's reconciler that " .. what, function()
      assert(pair.theirs_store:put("bad", { thread_id = "x", status = "running", reconciler = "bad" }))
      assert(pair.theirs_store:put("unknown", { thread_id = "y", status = "running", reconciler = "elsewhere" }))
      leave { "good" }
      local manager = support.manager(pair.ours_store, { reconcilers = { bad = reconciler },
        policy_budget = { instructions = 10000 } })
      local report, err = manager:tick()
      assert.same({ "good" }, support.pluck(report.recovered, "run_id"))
      assert.is_true(err.code == "policy_failed" or err.code == "policy_budget")
      assert.same({ "running", "running" }, { manager:get("bad").status, manager:get("unknown").status })
    end)
  end

  it("refuses an unknown reconciler before anything is done, other types, and what nobody knows", function()
    leave { "r" }
    support.invalid("reconciler", pair.ours:tick { reconciler = "elsewhere" })
    support.raises("reconciler", pair.ours.tick, pair.ours, { reconciler = 5 })
    support.raises("colour", pair.ours.tick, pair.ours, { colour = "red" })
    assert.equal("running", pair.ours_store:get("r").status)
  end)

  it("says when the store fails, and has done nothing by halves", function()
    leave { "a", "b" }
    for _, method in ipairs { "list_inflight", "claim_for_takeover" } do
      local wrapped = support.wrap(pair.ours_store, { [method] = support.fail(math.huge, support.broken()) })
      local report, err = support.manager(wrapped):tick()
      assert.equal("store_corrupt", err.code)
      assert.same({}, report and report.recovered or {})
    end
    assert.equal(2, #assert(pair.ours:tick()).recovered)
  end)

  it("ends reservations that could not be ended", function()
    local failing = true
    local wrapped = support.wrap(pair.theirs_store, { update_status = function(forward, ...)
      if failing then return nil, support.broken() end
      return forward(...)
    end })
    local manager = support.manager(wrapped)
    assert.is_true(manager:reserve("t", "delete", function() return true end))
    support.refused("conflict", pair.ours:create_or_reject "t")
    failing = false
    assert(manager:tick())
    assert(pair.ours:create_or_reject "t")
  end)

  it("of two processes recovers each run once", function()
    local list = ids(300)
    leave(list)
    local children = {}
    for i = 1, 2 do
      children[i] = support.spawn([[
        local manager = keel.run_manager { store = assert(keel.open((...), { durability = "off" })) }
        say "ready" hear()
        for _ = 1, 5 do
          for _, run in ipairs(assert(manager:tick()).recovered) do say(run.run_id) end
        end
        say "done"
      ]], { pair.path })
    end
    for _, child in ipairs(children) do child:expect "ready" end
    for _, child in ipairs(children) do child:say "go" end
    local seen = {}
    for _, child in ipairs(children) do
      for line in child.hear, child do
        if line == "done" then break end
        assert.is_nil(seen[line], "recovered twice")
        seen[line] = true
      end
      child:finish()
    end
    for _, id in ipairs(list) do assert.is_true(seen[id]) end
  end)
end)
