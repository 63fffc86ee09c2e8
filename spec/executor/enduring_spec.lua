--- An executor in trouble: handlers that let nobody else work, stores that fail or go away, a loop that stands still.
local keel = require "keel"
local executors = require "support.executor"
local kernel = require "keel.kernel"
local support = require "support"
local uv = require "luv"

describe("An executor in trouble", function()
  local clock, path, store, runs

  before_each(function()
    clock = support.clock()
    path = support.path()
    store = support.open(path, { clock = clock.read, monotonic = clock.read, durability = "off" })
    runs = support.manager(store)
  end)
  after_each(executors.clean_up)
  after_each(support.clean_up)

  local function claimable(thread_id, options)
    local given = { claimable = true }
    for name, value in pairs(options or {}) do given[name] = value end
    return assert(runs:create(thread_id, given)).run_id
  end

  local function in_seconds(seconds) return kernel.time_text(clock.read() + seconds) end

  -- What another process would do about the runs of this one, from a session of its own.
  local function recover(lease, at_once)
    local other <close> = assert(keel.open(path, { clock = clock.read, monotonic = clock.read, durability = "off" }))
    local manager = support.manager(other, { lease_ttl = lease })
    local function look()
      return #assert(manager:reconcile_orphaned_inflight_runs { reconciler = "requeue_orphans" })
    end
    local found = look()
    if not at_once then clock.advance(lease + 1) end -- who has just come judges by what it has seen itself
    return found + look()
  end

  it("renews the leases of what it runs, for as long as that takes", function()
    runs = support.manager(store, { lease_ttl = 10 })
    local over = false
    local id = claimable "t"
    executors.started(runs, function(context)
      while not over do assert(context.sleep(0.005)) end
    end, { interval = 0.02 })
    executors.await_status(store, id, "running")
    for _ = 1, 5 do
      clock.advance(9)
      executors.await(function() return store:get(id).lease_expires_at == in_seconds(10) end, "a renewal")
      assert.equal(0, recover(10, true))
    end
    over = true
    executors.await_status(store, id, "success")
    assert.equal(1, #support.events(store, { kinds = { "run_started" } }))
  end)

  it("keeps its hands off a run that was lost while its handler let nobody work", function()
    runs = support.manager(store, { lease_ttl = 10 })
    local id = claimable "t"
    local attempts = 0
    executors.started(runs, function(context)
      attempts = attempts + 1
      if attempts > 1 then return { exit_code = 2 } end
      clock.advance(11) -- without a yield
      assert(recover(10) == 1)
      assert(not context.cancelled()) -- nobody could tell it
      return { exit_code = 1 }
    end)
    executors.await_status(store, id, "success")
    local row = store:get(id)
    assert.same({ 2, 1, 2 }, { row.exit_code, row.losses, attempts })
    assert.equal(1, #support.events(store, { kinds = { "run_finished" } }))
  end)

  it("OWN-8: writes nothing of an attempt that is over when it has taken the run again", function()
    runs = support.manager(store, { lease_ttl = 10 })
    local ways = {
      lost = function()
        clock.advance(11)
        assert(recover(10) == 1)
      end,
      given_back = function(context) assert(context.manager:requeue(context.run.run_id)) end,
    }
    local answers, second_runs, first_is_over = {}, {}, {}
    executors.started(runs, function(context)
      local name, attempt = context.run.thread_id, context.run.attempt + context.run.losses
      if attempt > 1 then
        second_runs[name] = true
        while not first_is_over[name] do assert(context.sleep(0.005)) end
        return { exit_code = 2 }
      end
      ways[name](context)
      repeat context.sleep(0.005) until second_runs[name]
      local _, progressed = context.progress { total_tokens = 7 }
      local _, told = context.event { kind = "late" }
      answers[name] = { progressed, told }
      first_is_over[name] = true
      error "the first attempt"
    end)
    for name in pairs(ways) do
      local id = claimable(name)
      executors.await_status(store, id, "success")
      for i = 1, 2 do assert.equal("stale_owner", answers[name][i].code) end
      local row = store:get(id)
      assert.same({ 2, 0 }, { row.exit_code, row.total_tokens })
      assert.is_nil(row.error)
    end
    assert.equal(0, #support.events(store, { kinds = { "late" } }))
  end)

  it("OWN-8: writes nothing of an attempt that it has lost, though it has not taken the run again", function()
    runs = support.manager(store, { lease_ttl = 10 })
    local told
    claimable "t"
    executors.started(runs, function(context)
      clock.advance(11)
      assert(recover(10) == 1)
      repeat context.sleep(0.005) until context.cancelled()
      told = { select(2, context.progress { total_tokens = 7 }), (select(2, context.event { kind = "late" })) }
      while true do assert(context.sleep(1)) end
    end, { concurrency = 1 })
    executors.await(function() return told end, "the loss")
    assert.same({ "stale_owner", "stale_owner" }, support.pluck(told, "code"))
    assert.equal(0, #support.events(store, { kinds = { "late" } }))
  end)

  it("says nothing of a handler that has given its run back by itself", function()
    local logged, returned = {}, false
    runs = support.manager(store, { log = function(_, message) logged[#logged + 1] = message end })
    claimable "t"
    local executor = executors.started(runs, function(context)
      assert(context.manager:requeue(context.run.run_id, { delay = 60 }))
      returned = true
    end)
    executors.await(function() return returned and executor:stats().ended == 1 end, "the end")
    assert.same({}, logged)
  end)

  it("RUN-39: a run whose handler lets nobody work until the deadline is over has timed out", function()
    local id = claimable("t", { deadline = in_seconds(60) })
    local failing = claimable("u", { deadline = in_seconds(60), max_attempts = 3 })
    executors.started(runs, function(context)
      clock.advance(61)
      if context.run.run_id == failing then error "too late anyway" end
      return { exit_code = 0, total_tokens = 5 }
    end, { concurrency = 1 })
    executors.await_status(store, { id, failing }, "timeout")
    local row = store:get(id)
    assert.same({ "deadline", "the deadline of the run has passed", 5 },
      { row.stop_reason, row.error, row.total_tokens })
  end)

  it("goes on with the others beside a handler that does not want to hear", function()
    local calm, tries = false, 0
    local deaf = claimable("deaf", { kwargs = { handler = "deaf" } })
    executors.started(runs, {
      deaf = function(context)
        repeat
          tries = tries + 1
          pcall(function() assert(context.sleep(60)) end)
        until calm
        error "stopped in the end"
      end,
      default = function(context) assert(context.sleep(0.001)) end,
    })
    executors.await_status(store, deaf, "running")
    assert(runs:cancel(deaf))
    executors.await(function() return tries > 100 end, "the handler")
    executors.await_status(store, { claimable "a", claimable "b" }, "success")
    assert.is_true(store:get(deaf).finalizing)
    calm = true
    executors.await(function() return not store:get(deaf).finalizing end, "settling")
    assert.equal("interrupted", store:get(deaf).status)
  end)

  it("F-11: leaves, though a handler never hears: its run stays running, and is an orphan with its process", function()
    local deaf = claimable "t"
    local executor = executors.started(runs, function(context)
      while true do context.sleep(60) end
    end)
    executors.await_status(store, deaf, "running")
    local report = assert(executor:stop { timeout = 0.05 })
    assert.same({ { deaf }, {}, {}, {} }, { support.pluck(report.running, "run_id"), report.finished,
      report.given_back, report.interrupted })
    assert.same({ "running", 1 }, { store:get(deaf).status, store:get(deaf).attempt })
  end)

  it("goes on when its loop was stopped and is turned again", function()
    local ids = { claimable "a", claimable "b" }
    executors.started(runs, function(context)
      uv.stop()
      assert(context.sleep(0.01))
    end)
    local keep_alive = uv.new_timer()
    keep_alive:start(10000, 0, function() end)
    uv.run()
    assert.equal("running", store:get(ids[1]).status)
    keep_alive:close()
    executors.await_status(store, ids, "success")
  end)

  it("writes the end of a run when the disk has room again", function()
    local failures = 0
    runs = support.manager(support.wrap(store, { tx = { update_run_completion = function(forward, ...)
      failures = failures + 1
      if failures > 5 then return forward(...) end
      return nil, { code = "store_full", message = "database or disk is full", transient = false }
    end } }))
    local ids = { claimable "a", claimable "b", claimable "c" }
    executors.started(runs, function()
      return { exit_code = 7 }
    end)
    executors.await_status(store, ids, "success")
    assert.is_true(failures >= 8)
    for _, id in ipairs(ids) do assert.equal(7, store:get(id).exit_code) end
  end)

  it("is told, and can be stopped, when its store is closed under it", function()
    local told, ended = {}, 0
    runs = support.manager(store, { log = function(_, message) told[message] = true end })
    local ids = { claimable "a", claimable "b" }
    local executor = executors.started(runs, function(context)
      assert(context.sleep(0.01))
      store:close()
      ended = ended + 1
    end)
    executors.await(function() return ended == 2 and told["update_run_completion failed"] end, "the log")
    local report, err = executor:stop { timeout = 0.05 }
    assert.is_true(report == nil or #report.finished == 0)
    assert.truthy(err)
    store = support.open(path) -- the session went with the store: its runs are orphans
    runs = support.manager(store)
    executors.started(runs, function() end, { reconciler = "requeue_orphans" })
    executors.await_status(store, ids, "success")
  end)

  it("leaves nothing hanging when the manager cannot shut down", function()
    runs = support.manager(store, { log = support.log() })
    claimable "t"
    runs.shutdown = function() error "no way out" end
    local executor, report, err, heard
    executor = executors.started(runs, function()
      report, err = executor:stop()
      heard = true
    end)
    executors.await(function() return heard end, "the end of the stop")
    assert.is_nil(report)
    assert.matches("no way out", err.message)
    runs.shutdown = nil
    executors.new(runs, function() end) -- the manager is free for another
  end)
end)
