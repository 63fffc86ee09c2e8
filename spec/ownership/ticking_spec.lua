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
  local function leave(list, store)
    assert((store or pair.theirs_store):transaction(function(tx)
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

  it("looks at as many as it is told, and goes on at the next", function()
    leave(ids(25))
    local sums = {}
    for i = 1, 3 do sums[i] = #assert(pair.ours:tick { limit = 10 }).recovered end
    assert.same({ 10, 10, 5 }, sums)
    leave(ids(70, "more"))
    assert.equal(70, #assert(pair.ours:tick { limit = 1000 }).recovered)
    support.invalid("limit", pair.ours:tick { limit = 0 })
    local err = support.refused("limit_too_large", pair.ours:tick { limit = 1001 })
    assert.same({ 1001, 1000 }, { err.requested, err.max })
    support.raises("limit", pair.ours.tick, pair.ours, { limit = "10" })
  end)

  it("looks at a page of orphans a call, goes on at the next, and reaches all", function()
    leave(ids(PAGE * 2 + 10))
    local wrapped, calls = support.wrap(pair.ours_store)
    local manager, sums = support.manager(wrapped), {}
    for i = 1, 3 do
      local before = calls.list_inflight
      sums[i] = #assert(manager:tick()).recovered
      assert.equal(i < 3 and 1 or 2, calls.list_inflight - before) -- at the end it looks for what holds others up
    end
    assert.same({ PAGE, PAGE, 10 }, sums)
    assert.same({}, pair.ours_store:list_inflight())
    assert.same({}, assert(manager:tick()).recovered)
  end)

  it("finds what the dead left at once, whatever waits or runs before it", function()
    for i = 1, PAGE do pair.started(nil, "live" .. i, pair.ours) end
    for _ = 1, PAGE * 2 do assert(pair.ours:create("queue", { claimable = true })) end
    local dead = pair.started()
    local late = assert(pair.ours:create("queue", { claimable = true, deadline = "2026-01-01T00:00:05Z" }))
    pair.theirs_store:close()
    pair.clock.advance(5)
    leave({ "stale" }, pair.ours_store)
    local found = support.pluck(assert(pair.ours:tick()).recovered, "run_id")
    table.sort(found)
    local expected = { dead.run_id, late.run_id, "stale" }
    table.sort(expected)
    assert.same(expected, found)
  end)

  it("gets past pages of orphans that are left alone, and starts over at the end", function()
    local function recovered(n)
      local sum = 0
      for _ = 1, n do
        local report = pair.ours:tick { reconciler = function(run) if run.run_id == "z" then
          return { status = "error" } end end }
        sum = sum + #report.recovered
      end
      return sum
    end
    leave(ids(PAGE * 2))
    leave { "z" }
    assert.same({ 0, 1 }, { recovered(2), recovered(1) })
    leave { "z2" }
    assert.equal(0, recovered(3))
    assert.equal(PAGE * 2 + 1, #pair.ours_store:list_inflight { limit = 1000 })
  end)

  it("gets past the run it stopped at when that is deleted", function()
    local alone = { reconciler = function(run) return run.run_id == "z" and { status = "error" } or nil end }
    leave(ids(PAGE))
    leave { "z" }
    assert.same({}, assert(pair.ours:tick(alone)).recovered)
    assert(pair.ours_store:delete(pair.ours_store:list_inflight({ limit = PAGE })[PAGE].run_id))
    local sum = 0
    for _ = 1, 2 do sum = sum + #assert(pair.ours:tick(alone)).recovered end
    assert.equal(1, sum)
  end)

  it("comes to an end in a sweep of all, too, when such a run is deleted meanwhile", function()
    local reads = 0
    local store, calls = support.wrap(pair.ours_store, { list_inflight = function(forward, query)
      reads = reads + 1
      if reads > 10 then error "it reads for ever" end
      local page = forward(query)
      if reads == 2 then assert(pair.ours_store:delete(page[#page].run_id)) end
      return page
    end })
    leave(ids(600))
    local alone = { reconciler = function() end }
    assert.same({}, assert(support.manager(store):reconcile_orphaned_inflight_runs(alone)))
    assert.is_true(calls.list_inflight <= 7)
  end)

  it("tells of what it recovered because it held others up", function()
    local busy = pair.started(nil, "t", pair.theirs)
    local next = assert(pair.theirs:create_or_reject("t", { multitask_strategy = "enqueue", claimable = true }))
    assert(pair.ours:cancel(busy.run_id)) -- asked for, never done
    pair.clock.advance(9)                 -- the lease holds
    assert.same({}, assert(pair.ours:tick()).recovered)
    local impatient = support.manager(pair.ours_store, { settle_timeout = 5 })
    assert.same({ busy.run_id }, support.pluck(assert(impatient:tick()).recovered, "run_id"))
    assert.equal(next.run_id, impatient:claim_next().run_id)
  end)

  it("looks at all runs in a store that cannot tell who owns them", function()
    local dead = pair.started()
    pair.theirs_store:close()
    for i = 1, PAGE do assert(pair.ours:create("w" .. i, { claimable = true })) end
    local plain = setmetatable({ next_owner = false }, { __index = function(_, name)
      local method = pair.ours_store[name]
      return type(method) == "function" and function(_, ...) return method(pair.ours_store, ...) end or method
    end })
    local manager, found = support.manager(plain), {}
    for i = 1, 2 do found[i] = #assert(manager:tick()).recovered end
    assert.same({ 1, 0 }, found)
    assert.equal("error", manager:get(dead.run_id).status)
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
