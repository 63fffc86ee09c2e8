--- Leaving in good order, and letting go of a single run.
local keel = require "keel"
local new_pair = require "support.pair"
local support = require "support"

--- Coroutines under a sleep that lets the others run: what a host's loop does. `tasks` are functions; time passes only
--- when somebody sleeps.
local function scheduler()
  local loop = { now = 0, waiting = {}, slept = {} }

  function loop.sleep(seconds)
    loop.slept[#loop.slept + 1] = seconds
    coroutine.yield(loop.now + seconds)
  end

  function loop.spawn(task)
    loop.waiting[#loop.waiting + 1] = { at = loop.now, co = coroutine.create(task) }
  end

  function loop.run()
    while #loop.waiting > 0 do
      table.sort(loop.waiting, function(a, b) return a.at < b.at end)
      local next_one = table.remove(loop.waiting, 1)
      loop.now = math.max(loop.now, next_one.at)
      local ok, at = coroutine.resume(next_one.co)
      assert(ok, at)
      if coroutine.status(next_one.co) ~= "dead" then
        loop.waiting[#loop.waiting + 1] = { at = at, co = next_one.co }
      end
    end
  end

  return loop
end

support.each_store(function(open)
  describe("shutdown", function()
    local loop, store, manager

    before_each(function()
      loop = scheduler()
      store = open { sleep = loop.sleep }
      manager = support.manager(store)
    end)

    local function started(thread_id, options)
      local run = assert(manager:create(thread_id or "t", options))
      assert.equal("started", manager:try_start(run.run_id))
      return run
    end

    -- Shuts down in a coroutine; gives the report and when it was over.
    local function shut_down(timeout)
      local report, err, over
      loop.spawn(function()
        report, err = manager:shutdown { timeout = timeout }
        over = loop.now
      end)
      loop.run()
      return report, over, err
    end

    it("OWN-13: signals all live runs, and keeps the success of what finished by itself", function()
      local runs = {}
      for i = 1, 3 do
        runs[i] = started("t" .. i)
        loop.spawn(function()
          while not runs[i].abort_event:is_set() do loop.sleep(0.01) end
          loop.sleep(i * 0.1)
          assert(manager:set_status(runs[i].run_id, "success"))
        end)
      end
      local report, over = shut_down(5)
      assert.same({ 3, 0 }, { #report.finished, #report.interrupted })
      for i = 1, 3 do assert.equal("success", store:get(runs[i].run_id).status) end
      assert.is_true(over >= 0.3 and over < 0.5, "it does not wait when all have finished: " .. over)
    end)

    it("OWN-13: interrupts what has not finished when the time is over: one deadline for all", function()
      local slow, quick = {}, started "quick"
      for i = 1, 3 do slow[i] = started("t" .. i) end
      loop.spawn(function()
        loop.sleep(0.2)
        assert(manager:update_run_completion(quick.run_id, { status = "success" }))
      end)
      local report, over = shut_down(1)
      assert.same({ quick.run_id }, support.pluck(report.finished, "run_id"))
      assert.same({ slow[1].run_id, slow[2].run_id, slow[3].run_id }, support.pluck(report.interrupted, "run_id"))
      for _, run in ipairs(slow) do
        assert.same({ "interrupted", "shutdown", true },
          { store:get(run.run_id).status, store:get(run.run_id).stop_reason, run.abort_event:is_set() })
      end
      assert.is_true(over >= 0.99 and over < 1.1, tostring(over))
      assert.same({}, store:list_inflight {})
    end)

    it("OWN-13: a run that finishes after it was given up is told so", function()
      local run, told = started(), nil
      loop.spawn(function()
        loop.sleep(2)
        told = select(2, manager:set_status(run.run_id, "success"))
      end)
      shut_down(1)
      assert.same({ "invalid_transition", "interrupted" }, { told.code, told.from })
      assert.equal("interrupted", store:get(run.run_id).status)
    end)

    it("OWN-13: waits for a finalizing run to settle, and settles it when the time is over", function()
      local settles, never = started "a", started "b"
      assert(manager:cancel(settles.run_id))
      assert(manager:cancel(never.run_id))
      loop.spawn(function()
        loop.sleep(0.3)
        assert(manager:settle(settles.run_id))
      end)
      local report, over = shut_down(1)
      assert.same({ 2, 0 }, { #report.finished, #report.interrupted })
      assert.is_true(over >= 0.99, tostring(over))
      assert.same({ false, false }, { manager:has_inflight "a", manager:has_inflight "b" })
    end)

    it("OWN-13: with timeout 0 waits for nobody", function()
      local run = started()
      local report, over = shut_down(0)
      assert.same({ run.run_id }, support.pluck(report.interrupted, "run_id"))
      assert.equal(0, over) -- a server that is slow to give a lock is asked again, without a wait between
    end)

    it("OWN-13: of nothing is over at once", function()
      local report, over = shut_down(5)
      assert.same({ { finished = {}, given_back = {}, interrupted = {} }, 0 }, { report, over })
    end)

    it("OWN-13: ends pending runs of this process as well", function()
      local run = assert(manager:create "t")
      assert.same({ run.run_id }, support.pluck(shut_down(0.1).interrupted, "run_id"))
      assert.equal("interrupted", store:get(run.run_id).status)
    end)

    it("OWN-2: leaves what is to be claimed", function()
      local run = assert(manager:create("t", { claimable = true }))
      assert.same({ finished = {}, given_back = {}, interrupted = {} }, (shut_down(0)))
      assert.same({ "pending", true }, { store:get(run.run_id).status, store:get(run.run_id).claimable })
    end)

    it("OWN-13: signals what is made meanwhile", function()
      local first, late = started "a", nil
      loop.spawn(function()
        loop.sleep(0.05)
        late = started "b"
        late.abort_event:on_set(function() manager:set_status(late.run_id, "success") end)
        assert(manager:set_status(first.run_id, "success"))
      end)
      local report = shut_down(1)
      assert.same({ 2, 0 }, { #report.finished, #report.interrupted })
      assert.equal("success", late.status)
    end)

    it("OWN-13: goes on behind a listener that raises", function()
      local runs = {}
      for i = 1, 3 do
        runs[i] = started("t" .. i)
        runs[i].abort_event:on_set(function() error "not me" end)
      end
      local report = shut_down(0)
      assert.equal(3, #report.interrupted)
    end)

    it("OWN-13: keeps the action that was asked for before", function()
      local run = started()
      assert(store:request_cancel(run.run_id, { action = "rollback" }))
      manager:heartbeat()
      shut_down(0)
      assert.same({ "rollback", "rollback" }, { run.abort_action, store:get(run.run_id).cancel_action })
    end)

    it("OWN-13: says when a run could not be ended, and ends the others", function()
      local failing
      local wrapped = support.wrap(store, { update_status = function(forward, run_id, ...)
        if run_id == failing then return nil, support.broken() end
        return forward(run_id, ...)
      end })
      manager = support.manager(wrapped)
      local one, two = started "a", started "b"
      failing = one.run_id
      local report, _, err = shut_down(0)
      assert.same({ two.run_id }, support.pluck(report.interrupted, "run_id"))
      assert.equal("store_corrupt", err.code)
      assert.same({ "running", "interrupted" }, { one.status, two.status })
    end)

    it("refuses what is no time, and what nobody knows", function()
      for _, timeout in ipairs { -1, 0 / 0, math.huge } do
        support.invalid("timeout", manager:shutdown { timeout = timeout })
      end
      support.raises("timeout", manager.shutdown, manager, { timeout = "soon" })
      support.raises("colour", manager.shutdown, manager, { colour = "red" })
    end)
  end)
end)

describe("shutdown of one process", function()
  local pair
  after_each(support.clean_up)

  before_each(function() pair = new_pair() end)

  it("OWN-13: leaves the runs of others alone", function()
    local theirs, ours = pair.started(nil, "a"), pair.started(nil, "b", pair.ours)
    assert.same({ ours.run_id }, support.pluck(assert(pair.ours:shutdown { timeout = 0 }).interrupted, "run_id"))
    assert.equal("running", pair.ours:get(theirs.run_id).status)
  end)

  it("OWN-13: does not write a run that was lost, nor speak of it", function()
    local run = pair.started()
    assert(pair.ours_store:requeue(run.run_id))
    local claimed = assert(pair.ours:claim_next())
    local report, err = pair.theirs:shutdown { timeout = 0 }
    assert.same({ { finished = {}, given_back = {}, interrupted = {} } }, { report, err })
    assert.equal("running", pair.ours:get(claimed.run_id).status)
  end)

  it("OWN-13: does not write a run that is lost while it waits", function()
    local manager, run
    local store = support.open(pair.path, { clock = pair.clock.read, sleep = function()
      if run.status == "pending" then return end
      assert(pair.ours_store:requeue(run.run_id))
      assert.equal(1, #assert(manager:heartbeat()).lost)
    end })
    manager = support.manager(store)
    run = pair.started(nil, "t", manager)
    assert.same({ finished = {}, given_back = {}, interrupted = {} }, assert(manager:shutdown { timeout = 5 }))
    assert.equal("pending", pair.ours:get(run.run_id).status)
  end)

  it("OWN-13: in a real process waits by the clock on the wall when nobody else can run", function()
    local child = support.spawn([[
      local manager = keel.run_manager { store = assert(keel.open((...), { durability = "off" })) }
      local run = assert(manager:create "t")
      assert(manager:try_start(run.run_id))
      local report = assert(manager:shutdown { timeout = 0.05 })
      say(#report.interrupted .. " " .. run.status)
    ]], { support.path() })
    child:expect "1 interrupted"
    child:finish()
  end)
end)

describe("cleanup", function()
  local pair
  after_each(support.clean_up)

  before_each(function() pair = new_pair() end)

  it("RUN-22: of a run in flight fences what its owner still writes", function()
    local run = pair.started()
    assert.is_true(pair.theirs:cleanup(run.run_id))
    support.refused("stale_owner",
      pair.theirs_store:update_status(run.run_id, "success", { fence = run.fence }))
    assert.same({ run.run_id }, support.pluck(assert(pair.ours:reconcile_orphaned_inflight_runs()), "run_id"))
  end)

  it("RUN-22: of a finalizing run settles it: nobody is left to do so", function()
    local run = pair.started()
    assert(pair.theirs:cancel(run.run_id))
    assert.is_true(pair.theirs:cleanup(run.run_id))
    assert.is_false(pair.ours:has_inflight "t")
  end)

  it("RUN-22: of a run that another has taken gives up nothing of his", function()
    local run = pair.started()
    assert(pair.ours_store:requeue(run.run_id))
    local claimed = assert(pair.ours:claim_next())
    assert.is_true(pair.theirs:cleanup(run.run_id))
    local row = pair.ours_store:get(run.run_id)
    assert.same({ "running", pair.ours_store:session_id(), claimed.fence }, { row.status, row.session_id, row.fence })
    assert(pair.ours:set_status(run.run_id, "success"))
  end)

  it("RUN-22: of a run that another has given back leaves it in the queue", function()
    local run = pair.started()
    assert(pair.ours_store:requeue(run.run_id))
    assert.is_true(pair.theirs:cleanup(run.run_id))
    assert.equal(run.run_id, assert(pair.ours:claim_next()).run_id)
    assert.same({}, support.events(pair.ours_store, { kinds = { "run_rescheduled" } }))
  end)

  it("RUN-22: of a run whose row has vanished drops the record", function()
    local run = pair.started()
    assert(pair.ours_store:delete(run.run_id))
    assert.is_true(pair.theirs:cleanup(run.run_id))
    assert.is_nil(pair.theirs:get(run.run_id))
  end)

  it("RUN-22: that the store refuses leaves the record live", function()
    local wrapped = support.wrap(pair.theirs_store, { tx = { put = support.fail(1, support.broken()) } })
    local manager = support.manager(wrapped)
    local run = assert(manager:create "t")
    support.refused("store_corrupt", manager:cleanup(run.run_id))
    assert.equal(run, manager:get(run.run_id))
    assert.is_true(manager:cleanup(run.run_id))
    assert.is_false(manager:cleanup(run.run_id))
  end)

  it("RUN-22: waits first, through the store's sleep", function()
    local slept
    local store = support.open(":memory:", { sleep = function(seconds) slept = seconds end })
    local manager = support.manager(store)
    local run = assert(manager:create "t")
    assert.is_true(manager:cleanup(run.run_id, { delay = 2.5 }))
    assert.equal(2.5, slept)
  end)

  it("refuses what is no time, and what nobody knows", function()
    local manager = keel.run_manager { store = ":memory:" }
    local run = assert(manager:create "t")
    for _, delay in ipairs { -1, 0 / 0, math.huge } do
      support.invalid("delay", manager:cleanup(run.run_id, { delay = delay }))
    end
    support.raises("delay", manager.cleanup, manager, run.run_id, { delay = "soon" })
    support.raises("colour", manager.cleanup, manager, run.run_id, { colour = 1 })
    assert.equal(run, manager:get(run.run_id))
  end)
end)
