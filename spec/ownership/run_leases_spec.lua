--- Run leases: an owner that stops renewing loses its runs, and every write of its that comes late is refused.
local keel = require "keel"
local new_pair = require "support.pair"
local support = require "support"

describe("A run lease", function()
  local pair
  after_each(support.clean_up)

  before_each(function() pair = new_pair { lease_ttl = 10, lease_grace = 2 } end)

  local function recover(reconciler)
    local found, err = pair.ours:reconcile_orphaned_inflight_runs { error = "lost", reconciler = reconciler }
    assert.is_nil(err)
    return found
  end

  it("OWN-7: is not recovered before it and its grace are over, and is then", function()
    local run = pair.started()
    pair.clock.advance(11.9)
    assert.same({}, recover())
    pair.clock.advance(0.1)
    assert.same({ run.run_id }, support.pluck(recover(), "run_id"))
    assert.same({ "error", "lost" }, { pair.ours:get(run.run_id).status, pair.ours:get(run.run_id).error })
  end)

  it("OWN-7: holds for pending runs and claimed ones as well", function()
    local pending = assert(pair.theirs:create "a")
    assert(pair.ours:create("b", { claimable = true }))
    local claimed = assert(pair.theirs:claim_next())
    pair.clock.advance(12)
    assert.same({ [pending.run_id] = true, [claimed.run_id] = true }, support.ids(recover()))
  end)

  it("OWN-7: is renewed by a heartbeat, from then on", function()
    local run = pair.started()
    pair.clock.advance(8)
    assert.equal(1, assert(pair.theirs:heartbeat()).renewed)
    pair.clock.advance(11.9)
    assert.same({}, recover())
    assert.equal(1, assert(pair.theirs:heartbeat()).renewed)
    pair.clock.advance(12)
    assert.same({ run.run_id }, support.pluck(recover(), "run_id"))
  end)

  it("OWN-7: that is over and that nobody took is renewed all the same", function()
    local run = pair.started()
    pair.clock.advance(100)
    assert.same({ 1, 0 }, { pair.theirs:heartbeat().renewed, #pair.theirs:heartbeat().lost })
    assert.same({}, recover())
    assert(pair.theirs:set_status(run.run_id, "success"))
  end)

  it("OWN-7: of a hundred runs is renewed by one call of the store, in one change", function()
    local wrapped, calls = support.wrap(pair.theirs_store)
    local manager = support.manager(wrapped, { lease_ttl = 10 })
    for i = 1, 100 do pair.started(nil, "t" .. i, manager) end
    local revision = manager:get(manager:list_by_thread("t1")[1].run_id).revision
    local before, events = calls.total, #support.events(pair.ours_store)
    assert.equal(100, assert(manager:heartbeat()).renewed)
    assert.equal(1, calls.renew_runs)
    assert.is_true(calls.total - before <= 5, calls.total - before .. " calls for one heartbeat")
    assert.same({ 0, 0 }, { calls.begin, calls["tx.put"] })
    assert.equal(events, #support.events(pair.ours_store), "a renewal is no change of state")
    assert.equal(revision, pair.ours_store:get(manager:list_by_thread("t1")[1].run_id).revision)
  end)

  it("OWN-7: of its own is that of a claim which asks for one, and is renewed for as long", function()
    local manager = support.manager(pair.theirs_store, { lease_grace = 2 }) -- its runs have none
    for _, thread in ipairs { "a", "b", "c" } do assert(pair.ours:create(thread, { claimable = true })) end
    local long = assert(manager:claim_next { lease_ttl = 28 })
    local short = assert(manager:claim_next { lease_ttl = 8 })
    assert(manager:claim_next())
    pair.clock.advance(9)
    assert.equal(2, assert(manager:heartbeat()).renewed)
    assert.same({}, recover())
    pair.clock.advance(9.9)
    assert.same({}, recover())
    pair.clock.advance(0.1)
    assert.same({ short.run_id }, support.pluck(recover(), "run_id"))
    pair.clock.advance(19.9)
    assert.same({}, recover())
    pair.clock.advance(0.1)
    assert.same({ long.run_id }, support.pluck(recover(), "run_id"))
  end)

  it("OWN-7: of its own leaves the others' as they are", function()
    local run = pair.started()
    assert(pair.ours:create("b", { claimable = true }))
    local short = assert(pair.theirs:claim_next { lease_ttl = 3 })
    pair.clock.advance(4)
    assert.equal(2, assert(pair.theirs:heartbeat()).renewed)
    pair.clock.advance(5)
    assert.same({ short.run_id }, support.pluck(recover(), "run_id"))
    pair.clock.advance(7)
    assert.same({ run.run_id }, support.pluck(recover(), "run_id"))
    for _, wrong in ipairs { 0, -1, 0 / 0 } do
      local claimed, err = pair.theirs:claim_next { lease_ttl = wrong }
      assert.is_nil(claimed)
      assert.same({ "invalid_request", "lease_ttl" }, { err.code, err.field })
    end
  end)

  it("OWN-7: is renewed for the session's own runs only", function()
    local theirs, ours = pair.started(nil, "a"), pair.started(nil, "b", pair.ours)
    pair.clock.advance(11)
    assert.equal(1, assert(pair.ours:heartbeat()).renewed)
    pair.clock.advance(1)
    assert.same({ theirs.run_id }, support.pluck(recover(), "run_id"))
    assert.equal("running", ours.status)
  end)

  it("OWN-7: is not given to runs of a manager without leases, and nothing is renewed for it", function()
    local manager = support.manager(pair.theirs_store)
    local run = pair.started(nil, "t", manager)
    assert.is_nil(pair.ours_store:get(run.run_id).lease_expires_at)
    pair.clock.advance(1e6)
    assert.equal(0, assert(manager:heartbeat()).renewed)
    assert.same({}, recover())
  end)

  it("OWN-7: of a reservation is renewed too", function()
    local seen
    assert.is_true(pair.theirs:reserve("t", "delete", function()
      for _ = 1, 3 do
        pair.clock.advance(11)
        assert(pair.theirs:heartbeat())
      end
      seen = select(2, pair.ours:create_or_reject "t")
      return true
    end))
    assert.equal("conflict", seen.code)
  end)

  it("OWN-7: of a reservation that was lost is not minded any more", function()
    local log, lines = support.log()
    local wrapped, calls = support.wrap(pair.theirs_store)
    local manager = support.manager(wrapped, { lease_ttl = 10, log = log })
    assert.is_true(manager:reserve("t", "delete", function()
      pair.clock.advance(12)
      assert(pair.ours:create_or_reject "t")
      return true
    end))
    assert.same({ 1, "warn" }, { #lines, lines[1].level })
    local before = calls.update_status
    assert(manager:tick())
    assert.equal(before, calls.update_status)
  end)

  it("OWN-7: shows in the live record when it is renewed", function()
    local run = pair.started()
    pair.clock.advance(5)
    assert(pair.theirs:heartbeat())
    assert.equal(pair.ours_store:get(run.run_id).lease_expires_at, run.lease_expires_at)
  end)

  it("OWN-7: that was lost shows at the next heartbeat: reported once, aborted, shut out", function()
    local run, kept = pair.started(), pair.started(nil, "u")
    pair.clock.advance(12)
    assert.is_true(pair.ours_store:claim_for_takeover(run.run_id, { error = "lost" }))
    local report = assert(pair.theirs:heartbeat())
    assert.same({ run.run_id }, support.pluck(report.lost, "run_id"))
    assert.equal(run, report.lost[1])
    assert.same({ "error", "lost", true }, { run.status, run.error, run.abort_event:is_set() })
    assert.same({ "running", false }, { kept.status, kept.abort_event:is_set() })
    assert.same({}, assert(pair.theirs:heartbeat()).lost)
    pair.is_shut_out(pair.theirs, run.run_id)
  end)

  it("OWN-7: that is over is no reason to recover one's own run: nobody else wants it", function()
    local run = pair.started()
    pair.clock.advance(100)
    assert.same({}, assert(pair.theirs:reconcile_orphaned_inflight_runs()))
    assert.equal("running", run.status)
  end)

  for _, write in ipairs { "set_status", "update_run_completion", "update_run_progress", "update_model_name", "requeue",
    "settle", "fail_pending", "try_start" } do
    it("OWN-8: lost: " .. write .. " is refused when it is the first to come late", function()
      local run = pair.started()
      assert(pair.ours_store:requeue(run.run_id))
      local argument = { set_status = "success", update_model_name = "late" }
      support.refused("stale_owner", pair.theirs[write](pair.theirs, run.run_id, argument[write] or {}))
      assert.is_true(run.abort_event:is_set())
      pair.is_shut_out(pair.theirs, run.run_id)
    end)
  end

  it("OWN-8: lost to a requeue: the former owner is shut out, and told", function()
    local run = pair.started()
    pair.clock.advance(12)
    assert.equal(1, #recover "requeue_orphans")
    support.refused("stale_owner", pair.theirs:set_status(run.run_id, "success"))
    assert.is_true(run.abort_event:is_set())
    pair.is_shut_out(pair.theirs, run.run_id)
    assert.same({}, assert(pair.theirs:heartbeat()).lost)
  end)

  it("OWN-8: lost to one who claimed it: shut out, while he is there, and when he has gone", function()
    local run = pair.started()
    pair.clock.advance(12)
    assert.equal(1, #recover "requeue_orphans")
    local claimed = assert(pair.ours:claim_next())
    assert.equal(run.run_id, claimed.run_id)
    assert.same({ run.run_id }, support.pluck(assert(pair.theirs:heartbeat()).lost, "run_id"))
    pair.is_shut_out(pair.theirs, run.run_id)
    assert(pair.ours:update_run_progress(run.run_id, { total_tokens = 5 }))
    local watcher = support.open(pair.path, { clock = pair.clock.read })
    pair.ours_store:close()
    support.refused("stale_owner", pair.theirs:set_status(run.run_id, "success"))
    support.refused("stale_owner", pair.theirs:set_status(run.run_id, "success"))
    assert.same({ "running", 5 }, { watcher:get(run.run_id).status, watcher:get(run.run_id).total_tokens })
  end)

  it("OWN-8: lost to one who finished it: shut out", function()
    local run = pair.started()
    pair.clock.advance(12)
    recover "requeue_orphans"
    assert(pair.ours:set_status(assert(pair.ours:claim_next()).run_id, "success"))
    pair.is_shut_out(pair.theirs, run.run_id)
    assert.equal("success", pair.ours:get(run.run_id).status)
  end)

  it("OWN-8: a hundred lost at once are all shut out", function()
    local runs = {}
    for i = 1, 100 do runs[i] = pair.started(nil, "t" .. i) end
    pair.clock.advance(12)
    assert.equal(100, #recover "requeue_orphans")
    assert.equal(100, #assert(pair.theirs:heartbeat()).lost)
    for _, run in ipairs(runs) do support.refused("stale_owner", pair.theirs:set_status(run.run_id, "success")) end
  end)

  it("OWN-8: a former owner that claims it again owns it again", function()
    local run = pair.started()
    pair.clock.advance(12)
    recover "requeue_orphans"
    support.refused("stale_owner", pair.theirs:set_status(run.run_id, "success"))
    local again = assert(pair.theirs:claim_next())
    assert.equal(run.run_id, again.run_id)
    assert(pair.theirs:set_status(run.run_id, "success"))
    assert.equal("success", again.status)
    assert.equal(again, pair.theirs:get(run.run_id))
  end)

  it("OWN-7: a lost run is read from the store, and others' changes of it show", function()
    local run = pair.started()
    pair.clock.advance(12)
    recover "requeue_orphans"
    pair.theirs:heartbeat()
    local claimed = assert(pair.ours:claim_next())
    assert.equal("running", pair.theirs:get(run.run_id).status)
    assert(pair.ours:set_status(claimed.run_id, "success"))
    assert.equal("success", pair.theirs:get(run.run_id).status)
    assert.equal("success", pair.theirs:list_by_thread("t")[1].status)
  end)

  for name, value in pairs { zero = 0, negative = -1, NaN = 0 / 0, infinite = math.huge } do
    it("lease_ttl that is " .. name .. " is refused", function()
      support.invalid("lease_ttl", keel.run_manager { store = ":memory:", lease_ttl = value })
    end)
  end

  it("lease_grace that is no time is refused, as is another type", function()
    for _, value in ipairs { -1, 0 / 0, math.huge } do
      support.invalid("lease_grace", keel.run_manager { store = ":memory:", lease_ttl = 1, lease_grace = value })
    end
    support.raises("lease_ttl", keel.run_manager, { lease_ttl = "10" })
    support.raises("lease_grace", keel.run_manager, { lease_grace = true })
  end)
end)

describe("A heartbeat", function()
  local pair
  after_each(support.clean_up)

  before_each(function() pair = new_pair { lease_ttl = 10 } end)

  it("OWN-2: leaves claimable runs alone: nobody owns them", function()
    local run = assert(pair.theirs:create("t", { claimable = true }))
    pair.started(nil, "u")
    local report = assert(pair.theirs:heartbeat())
    assert.same({ 1, 0 }, { report.renewed, #report.lost })
    assert.same({ "pending", false }, { run.status, run.abort_event:is_set() })
  end)

  it("OWN-7: does not take a run for lost that was made while it looked", function()
    local manager, made
    local wrapped = support.wrap(pair.theirs_store, {
      list_inflight = function(forward, ...)
        local rows = forward(...)
        made = made or assert(manager:create "new")
        return rows
      end,
    })
    manager = support.manager(wrapped, { lease_ttl = 10 })
    assert(manager:create "old")
    assert.same({}, assert(manager:heartbeat()).lost)
    assert.same({ "pending", false }, { made.status, made.abort_event:is_set() })
  end)

  it("OWN-7: does not take a run for lost that it finished while it looked", function()
    local manager, run
    local wrapped = support.wrap(pair.theirs_store, {
      list_inflight = function(forward, ...)
        assert(manager:set_status(run.run_id, "success"))
        return forward(...)
      end,
    })
    manager = support.manager(wrapped)
    run = assert(manager:create "t")
    assert.same({}, assert(manager:heartbeat()).lost)
    assert.is_false(run.abort_event:is_set())
  end)

  it("OWN-7: reports a run whose row has vanished as lost, once", function()
    local run = pair.started()
    assert(pair.ours_store:delete(run.run_id))
    assert.same({ run.run_id }, support.pluck(assert(pair.theirs:heartbeat()).lost, "run_id"))
    assert.is_true(run.abort_event:is_set())
    assert.same({}, assert(pair.theirs:heartbeat()).lost)
  end)

  it("looks at more runs than fit a page", function()
    assert(pair.theirs_store:transaction(function(tx)
      local session = tx:session_id()
      for i = 1, 1500 do assert(tx:put("r" .. i, { thread_id = "t" .. i, session_id = session })) end
      return true
    end))
    local run = pair.started(nil, "last")
    pair.ours:cancel(run.run_id)
    assert.same({ run.run_id }, support.pluck(assert(pair.theirs:heartbeat()).cancel_requested, "run_id"))
  end)

  it("goes on when a listener raises: everybody hears of it", function()
    local log, lines = support.log()
    local manager = support.manager(pair.theirs_store, { log = log })
    local runs = {}
    for i = 1, 3 do
      runs[i] = pair.started(nil, "t" .. i, manager)
      runs[i].abort_event:on_set(function() error "not me" end)
      pair.ours:cancel(runs[i].run_id)
    end
    local report = assert(manager:heartbeat())
    assert.equal(3, #report.cancel_requested)
    for _, run in ipairs(runs) do assert.is_true(run.abort_event:is_set()) end
    assert.is_true(#lines > 0)
  end)

  it("of a manager that never wrote has nothing to say", function()
    local manager = keel.run_manager { store = ":memory:" }
    assert.same({ renewed = 0, lost = {}, cancel_requested = {}, expired = {} }, manager:heartbeat())
  end)

  for _, method in ipairs { "renew_runs", "list_inflight" } do
    it("says when " .. method .. " fails, and loses nothing", function()
      local wrapped = support.wrap(pair.theirs_store, { [method] = support.fail(1, support.broken()) })
      local manager = support.manager(wrapped, { lease_ttl = 10 })
      local run = pair.started(nil, "t", manager)
      support.refused("store_corrupt", manager:heartbeat())
      assert.same({ "running", false }, { run.status, run.abort_event:is_set() })
      assert.equal(1, assert(manager:heartbeat()).renewed)
    end)
  end

  it("that cannot see what became of a run says so the next time", function()
    local wrapped = support.wrap(pair.theirs_store, { get = support.fail(1, support.broken()) })
    local manager = support.manager(wrapped)
    local run = pair.started(nil, "t", manager)
    assert(pair.ours_store:requeue(run.run_id))
    assert.same({ {}, false }, { assert(manager:heartbeat()).lost, run.abort_event:is_set() })
    assert.equal(run, assert(manager:heartbeat()).lost[1])
    assert.is_true(run.abort_event:is_set())
  end)

  it("tries again what is busy", function()
    local wrapped, calls = support.wrap(pair.theirs_store, { renew_runs = support.fail(2, support.busy()) })
    local manager = support.manager(wrapped, { lease_ttl = 10 })
    pair.started(nil, "t", manager)
    assert.equal(1, assert(manager:heartbeat()).renewed)
    assert.equal(3, calls.renew_runs)
  end)
end)

describe("Liveness that cannot be asked", function()
  after_each(support.clean_up)

  it("OWN-8: is no licence to write another's run", function()
    local pair = new_pair()
    local run = pair.started()
    local wrapped = support.wrap(pair.ours_store, { session_alive = support.fail(math.huge, support.broken()) })
    local manager = support.manager(wrapped)
    assert.is_nil((manager:set_status(run.run_id, "success")))
    assert.is_nil((manager:update_run_completion(run.run_id, { total_tokens = 5 })))
    assert.same({ "running", 0 }, { run.status, pair.ours_store:get(run.run_id).total_tokens })
  end)
end)

describe("A process that was stopped and wakes up late", function()
  after_each(support.clean_up)

  it("OWN-7: is refused every write", function()
    local path = support.path()
    local child = support.spawn([[
      local manager = keel.run_manager { store = assert(keel.open((...), { durability = "normal" })), lease_ttl = 0.05 }
      local runs = {}
      for i = 1, 2 do
        runs[i] = assert(manager:create("t" .. i))
        assert(manager:try_start(runs[i].run_id))
      end
      say(runs[1].run_id) say(runs[2].run_id)
      hear()
      local function code(_, err) return err and err.code or "done" end
      for _ = 1, 2 do
        local id = runs[1].run_id
        say(code(manager:set_status(id, "success")))
        say(code(manager:update_run_completion(id, { status = "success", total_tokens = 9 })))
        say(code(manager:update_run_progress(id, { total_tokens = 9 })))
        say(code(manager:update_model_name(id, "late")))
      end
      local report = assert(manager:heartbeat())
      say(report.lost[1].run_id .. " " .. tostring(runs[2].abort_event:is_set()))
      say(code(manager:update_run_completion(runs[2].run_id, { status = "success" })))
      hear()
    ]], { path })
    local lost, other = child:hear(), child:hear()
    child.handle:kill "sigstop"
    local store = support.open(path, { durability = "normal" })
    local manager = support.manager(store)
    -- The lease is over by the clock of the system: until then nothing is recovered.
    local recovered, ticker = {}, require("luv").new_timer()
    ticker:start(0, 5, function() end)
    local turned = require("support.process").turn_until(function()
      for _, run in ipairs(manager:reconcile_orphaned_inflight_runs { reconciler = "requeue_orphans" }) do
        recovered[run.run_id] = true
      end
      return recovered[lost] and recovered[other]
    end)
    ticker:close()
    assert.is_true(turned)
    assert.is_true(store:session_alive(1))
    local claimed = assert(manager:claim_next { threads = { "t1" } })
    assert.equal(lost, claimed.run_id)
    assert(manager:set_status(lost, "success"))
    child.handle:kill "sigcont"
    child:say "go"
    for _ = 1, 8 do child:expect "stale_owner" end
    child:expect(other .. " true")
    child:expect "stale_owner"
    assert.same({ "success", 0 }, { store:get(lost).status, store:get(lost).total_tokens })
    assert.is_nil(store:get(lost).model_name)
    assert.same({ "pending", 1 }, { store:get(other).status, store:get(other).losses })
    assert.same({}, store:verify())
  end)
end)
