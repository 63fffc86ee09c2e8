--- Stopping loses nothing: handlers end, or are asked to, and what others can run is given back without an attempt.
local executors = require "support.executor"
local keel = require "keel"
local support = require "support"
local uv = require "luv"

describe("An executor that is stopped", function()
  local store, runs, path
  after_each(executors.clean_up)
  after_each(support.clean_up)

  before_each(function()
    path = support.path()
    store = support.open(path, { durability = "off" })
    runs = support.manager(store)
  end)

  local function claimable(thread_id, options)
    local given = { claimable = true, max_attempts = 5 }
    for name, value in pairs(options or {}) do given[name] = value end
    return assert(runs:create(thread_id, given)).run_id
  end

  -- An executor whose runs, these, have started.
  local function running(handlers, ids, options)
    local executor = executors.started(runs, handlers, options)
    executors.await_status(store, ids, "running")
    return executor
  end

  local function row(id) return store:get(id) end
  local function ids_of(report, name) return support.pluck(report[name], "run_id") end

  it("F-11: lets handlers and their processes end by themselves, and takes no more", function()
    local id, told = claimable "t", nil
    local executor = running(function(context)
      local child = assert(context.spawn "trap 'echo told; exit 9' TERM; sleep 0.3 & wait; echo done")
      told = context
      local result = child:wait()
      return { status = result.code == 0 and "success" or "error", exit_code = result.code,
        last_ai_message = result.output }
    end, id)
    executors.await(function() return told end, "the process")
    local timer, later = uv.new_timer(), nil
    timer:start(20, 0, function()
      timer:close()
      later = claimable "later"
    end)
    local report = assert(executor:stop { timeout = 30 })
    assert.same({ { id }, {}, {} }, { ids_of(report, "finished"), report.given_back, report.interrupted })
    assert.same({ "success", 0, "done\n" }, { row(id).status, row(id).exit_code, row(id).last_ai_message })
    assert.same({ "pending", 1 }, { row(later).status, row(later).fence })
  end)

  it("F-11: gives back without an attempt what has not ended when it is asked, and says so", function()
    local given, own = claimable "a", assert(runs:create("b", { max_attempts = 5 })).run_id
    local told = {}
    local executor = running(function(context)
      local _, err = context.sleep(60)
      told[#told + 1] = err.code .. " " .. err.action
      return nil, err
    end, { given, own })
    local report = assert(executor:stop { timeout = 0.05 })
    assert.same({ "cancelled shutdown", "cancelled shutdown" }, told)
    assert.same({ {}, { given }, { own } },
      { report.finished, ids_of(report, "given_back"), ids_of(report, "interrupted") })
    assert.same({ "pending", true, 1, 1 }, { row(given).status, row(given).claimable, row(given).attempt,
      row(given).snoozes })
    assert.same({ "interrupted", "shutdown", 1 }, { row(own).status, row(own).stop_reason, row(own).attempt })
    executors.started(support.manager(store), function() return true end)
    executors.await_status(store, given, "success")
    assert.equal(1, row(given).attempt)
  end)

  it("F-11: gives a run back when its handler has ended, not when the last one has", function()
    local first, last, seen = claimable "a", claimable "b", nil
    local executor = running(function(context)
      context.sleep(60)
      for _ = 1, context.run.run_id == last and 2000 or 0 do
        seen = seen or row(first).status
        if seen == "running" then seen = nil end
        context.sleep(0) -- lets others have their turn
      end
    end, { first, last })
    local report = assert(executor:stop { drain = false })
    assert.same({ "pending", 2 }, { seen, #report.given_back })
  end)

  it("F-11: asked, true and a value are a success; nil and an error, a raise and nothing are no verdict", function()
    local verdicts = {
      yes = function() return true end, value = function() return "half" end,
      table = function() return { status = "error", exit_code = 3 } end,
      nothing = function() end, failed = function() return nil, "no" end, raised = function() error "no" end,
    }
    local handlers, ids = {}, {}
    for name, verdict in pairs(verdicts) do
      handlers[name] = function(context)
        context.sleep(60)
        return verdict()
      end
      ids[name] = claimable(name, { handler = name, max_attempts = 1 })
    end
    local list = {}
    for _, id in pairs(ids) do list[#list + 1] = id end
    local executor = running(handlers, list)
    local report = assert(executor:stop { drain = false })
    assert.same({ 3, 3, 0 }, { #report.finished, #report.given_back, #report.interrupted })
    for name, status in pairs { yes = "success", value = "success", table = "error", nothing = "pending",
      failed = "pending", raised = "pending" } do
      assert.same({ status, 1 }, { row(ids[name]).status, row(ids[name]).attempt }, name)
    end
    assert.same({ "half", 3 }, { row(ids.value).result, row(ids.table).exit_code })
  end)

  it("F-11: reports no run that somebody else has ended meanwhile", function()
    local id, other = claimable "t", support.open(path, { durability = "off" })
    local executor = running(function(context)
      context.sleep(60)
      assert(other:request_cancel(id))
      assert.is_true(other:claim_for_takeover(id, { status = "error", settle_timeout = 0 }))
      return true
    end, id)
    local report = assert(executor:stop { drain = false })
    assert.same({ "error", "orphan_recovered" }, { row(id).status, row(id).stop_reason })
    assert.same({ 0, 0, 0 }, { #report.finished, #report.given_back, #report.interrupted })
    assert.is_nil(report.running)
  end)

  it("F-11: reports runs in the order of their ids", function()
    local ids = {}
    for i = 1, 12 do ids[i] = claimable("t" .. i) end
    local go_on, timer = false, uv.new_timer()
    local executor = running(function(context)
      while not go_on do context.sleep(0.005) end
    end, ids, { concurrency = 12 })
    timer:start(20, 0, function() -- while it drains
      timer:close()
      go_on = true
    end)
    local report = assert(executor:stop())
    table.sort(ids)
    assert.same(ids, ids_of(report, "finished"))
  end)

  it("F-11: with drain = false asks at once, and a second call hurries", function()
    local id = claimable "t"
    local executor = running(function(context) return context.sleep(60) end, id)
    local timer, hurried = uv.new_timer(), nil
    timer:start(50, 0, function()
      timer:close()
      hurried = true
      assert.is_nil(executor:stop {})
    end)
    local report = assert(executor:stop { timeout = 600 })
    assert.same({ true, { id } }, { hurried, ids_of(report, "given_back") })
    local again = claimable "u"
    runs = support.manager(store)
    executor = running(function(context) return context.sleep(60) end, again)
    assert.truthy(support.ids(assert(executor:stop { timeout = 600, drain = false }).given_back)[again])
  end)

  it("F-11: hears while it drains that a run was cancelled, and renews leases", function()
    runs = support.manager(store, { lease_ttl = 0.5 })
    local id = claimable "t"
    local before
    local executor = running(function(context) return context.sleep(60) end, id)
    local other = support.manager(support.open(path, { durability = "off" }))
    local timer, is_renewed, answer = uv.new_timer(), nil, nil
    before = row(id).lease_expires_at
    timer:start(700, 0, function()
      timer:close()
      is_renewed, answer = row(id).lease_expires_at > before, { other:cancel(id) }
    end)
    local report = assert(executor:stop { timeout = 20 })
    assert.same({ true, { true, "requested" } }, { is_renewed, answer })
    assert.same({ { id }, "interrupted", "cancelled" },
      { ids_of(report, "finished"), row(id).status, row(id).stop_reason })
  end)

  it("F-11: a manager's shutdown gives back what others can run, and interrupts the rest", function()
    local given, own = claimable "a", assert(runs:create "b").run_id
    assert.equal(given, assert(runs:claim_next()).run_id)
    assert.equal("started", runs:try_start(own))
    local record = runs:get(given)
    local report = assert(runs:shutdown { timeout = 0 })
    assert.same({ {}, { given }, { own }, "shutdown" },
      { report.finished, ids_of(report, "given_back"), ids_of(report, "interrupted"), record.abort_action })
    assert.same({ "pending", 1, "interrupted", "shutdown" },
      { row(given).status, row(given).attempt, row(own).status, row(own).stop_reason })
  end)

  it("F-11: a manager's shutdown ends nothing that others can run because the store was busy for a moment", function()
    local wrapped = support.wrap(store, { requeue = support.fail(1, support.busy()), tx = {} })
    runs = support.manager(wrapped, { retry = keel.retry_policy { max_attempts = 1 } })
    local id = claimable "a"
    assert(runs:claim_next())
    local report, err = runs:shutdown { timeout = 0 }
    assert.same({ {}, {}, "busy", "running" }, { report.given_back, report.interrupted, err.code, row(id).status })
    report = assert(runs:shutdown { timeout = 0 })
    assert.same({ { id }, "pending" }, { ids_of(report, "given_back"), row(id).status })
  end)

  it("F-11: has left what its handlers have not let go of, and so does a shutdown behind it", function()
    local id, go_on = claimable "t", false
    local executor = running(function(context)
      while not go_on do context.sleep(0.005) end
    end, id)
    local report = assert(executor:stop { timeout = 0, drain = false })
    assert.same({ { id }, "running" }, { ids_of(report, "running"), row(id).status })
    report = assert(runs:shutdown { timeout = 0 })
    assert.same({ {}, { id }, "running" }, { report.given_back, ids_of(report, "running"), row(id).status })
    go_on = true
  end)

  it("F-15: gives back what its handler has put off when it was asked, for as long as it has said", function()
    local id = claimable "t"
    local executor = running(function(context)
      context.sleep(60)
      return context.snooze(300)
    end, id)
    assert.same({ id }, ids_of(assert(executor:stop { drain = false }), "given_back"))
    assert.same({ "pending", 1, 1 }, { row(id).status, row(id).attempt, row(id).snoozes })
    assert.truthy(row(id).scheduled_at)
    assert.is_nil((support.manager(store):claim_next()))
  end)

  it("F-15: gives back its own run, too, when its handler has put it off: nobody but a cancel ends it", function()
    local own, stopped = assert(runs:create("t", { max_attempts = 1 })).run_id, assert(runs:create "u").run_id
    local other = support.manager(support.open(path, { durability = "off" }))
    local executor = running(function(context)
      context.sleep(60)
      if context.run.run_id == stopped then
        assert.same({ true, "requested" }, { other:cancel(stopped) })
        assert(runs:heartbeat())
      end
      return context.snooze(300)
    end, { own, stopped })
    local report = assert(executor:stop { drain = false })
    assert.same({ { own }, { stopped }, {} },
      { ids_of(report, "given_back"), ids_of(report, "finished"), ids_of(report, "interrupted") })
    assert.same({ "pending", true, 1, 1 }, { row(own).status, row(own).claimable, row(own).attempt, row(own).snoozes })
    assert.truthy(row(own).scheduled_at)
    assert.same({ "interrupted", "cancelled" }, { row(stopped).status, row(stopped).stop_reason })
  end)

  it("F-11: what was given back is that, though another has taken and ended it before anybody looks", function()
    local other = support.manager(support.open(path, { durability = "off" }))
    local function finish(forward, ...)
      local found, written = forward(...)
      if found then assert(other:set_status(assert(other:claim_next()).run_id, "success")) end
      return found, written
    end
    runs = support.manager(support.wrap(store, { requeue = finish, tx = {} }))
    local id = claimable "a"
    assert(runs:claim_next())
    assert.same({ { id }, {} }, (function(report) return { ids_of(report, "given_back"), report.interrupted } end)(
      assert(runs:shutdown { timeout = 0 })))
    assert.same({ "success", 1 }, { row(id).status, row(id).attempt })
  end)

  it("F-19: goes on when what keeps an eye on the log and on leases has fallen", function()
    local reads, beats = 0, 0
    local log, lines = support.log()
    local wrapped = support.wrap(store, { read_events = function(forward, ...)
      reads = reads + 1
      local page, err = forward(...)
      if reads == 2 and page then return { events = { { kind = "run_requeued", data = { delay = {} } }, 7 } } end
      return page, err
    end })
    runs = support.manager(wrapped, { log = log })
    local tick = runs.tick
    function runs.tick(...)
      beats = beats + 1
      if beats == 1 then error(setmetatable({}, { __tostring = function() error "no" end })) end
      return tick(...)
    end
    executors.started(runs, function() return true end)
    local other = support.manager(support.open(path, { durability = "off" }))
    for i = 1, 3 do
      executors.await_status(store, assert(other:create("t" .. i, { claimable = true })).run_id, "success")
    end
    executors.await(function() return beats > 2 end, "another tick")
    collectgarbage() -- the waiter of before the fall must not take its descriptor from under the loop
    collectgarbage()
    executors.await_status(store, assert(other:create("t", { claimable = true })).run_id, "success")
    assert.is_true(#lines > 0)
  end)

  it("F-11: a rolling deploy: every run ends as success, none spends an attempt, nothing runs twice", function()
    -- What a handler has done to its end, it writes down; one that is asked to stop before has done nothing.
    local WORKER = [[
      local path, handler = ...
      local function work(seconds)
        return function(context)
          if not context.sleep(seconds) then return nil end
          assert(context.event { kind = "worked" })
          return true
        end
      end
      local uv = require "luv"
      local store = assert(keel.open(path, { durability = "off" }))
      local executor = assert(keel.executor { manager = keel.run_manager { store = store }, concurrency = 4,
        interval = 0.1, handlers = {
          quick = work(0.02), slow = work(0.2), [handler] = work(0.01),
        } })
      local signal = uv.new_signal()
      signal:start("sigterm", function() signal:close() executor:stop { timeout = 0.05 } end)
      executor:start()
      say "ready"
      local report = executor:run()
      say(("%d %d %d"):format(#report.given_back, #report.interrupted, report.running and #report.running or 0))
    ]]
    local ids = {}
    for i = 1, 50 do
      ids[i] = claimable("t" .. i % 25, { handler = i > 40 and "new" or i % 2 == 0 and "slow" or "quick" })
    end
    local old, other = support.spawn(WORKER, { path, "mail" }), support.spawn(WORKER, { path, "mail" })
    for _, child in ipairs { old, other } do child:expect "ready" end
    executors.await(function() return #support.events(store, { kinds = { "run_finished" } }) >= 8 end, "the middle")
    old.handle:kill "sigterm"
    local new = support.spawn(WORKER, { path, "new" })
    new:expect "ready"
    local given_back, interrupted, left = old:hear():match "(%d+) (%d+) (%d+)"
    assert.same({ true, "0", "0" }, { tonumber(given_back) > 0, interrupted, left }) -- it had runs at work
    old:finish()
    assert.is_true(#support.events(store, { kinds = { "run_finished" } }) < 50, "the others have work left")
    executors.await_status(store, ids, "success")
    for _, child in ipairs { other, new } do
      child.handle:kill "sigterm"
      child:hear()
      child:finish()
    end
    for _, id in ipairs(ids) do
      assert.same({ "success", 1 }, { row(id).status, row(id).attempt })
      local kinds = support.pluck(support.events(store, { run_id = id }), "kind")
      local open = 0
      for _, kind in ipairs(kinds) do -- started, given back, started … finished: never twice at once
        if kind == "run_started" then open = open + 1 end
        if kind == "run_requeued" or kind == "run_finished" then open = open - 1 end
        assert.is_true(open == 0 or open == 1)
      end
      assert.equal("run_finished", kinds[#kinds])
    end
    assert.equal(50, #support.events(store, { kinds = { "run_finished" } }))
    local worked = {}
    for _, event in ipairs(support.events(store, { kinds = { "worked" } })) do worked[event.run_id] = true end
    assert.equal(50, #support.events(store, { kinds = { "worked" } }))
    for _, id in ipairs(ids) do assert.is_true(worked[id]) end
  end)
end)
