--- Giving a run back: by its owner, for another try; by recovery, when its owner is gone.
local new_pair = require "support.pair"
local support = require "support"

describe("requeue", function()
  local pair
  after_each(support.clean_up)

  before_each(function() pair = new_pair() end)

  it("gives the run back: pending, claimable, one attempt more, no loss", function()
    local run = pair.started()
    local given = assert(pair.theirs:requeue(run.run_id, { error = "the model was down" }))
    local row = pair.ours:get(run.run_id)
    assert.same({ "pending", true, 2, 0, 2 }, { row.status, row.claimable, row.attempt, row.losses, row.fence })
    assert.same({}, { row.session_id, row.started_at, row.error, row.stop_reason })
    assert.same({ "pending", 2, true }, { given.status, given.attempt, given.store_only })
    assert.same({ "pending", 2 }, { run.status, run.attempt })
  end)

  it("leaves one event with the attempt, the delay and the error", function()
    local run = pair.started()
    pair.theirs:requeue(run.run_id, { error = "down", delay = 2.5 })
    local events = support.events(pair.ours_store, { run_id = run.run_id })
    assert.same({ "run_created", "run_started", "run_requeued" }, support.pluck(events, "kind"))
    assert.same({ attempt = 2, error = "down", delay = 2.5 }, events[3].data)
  end)

  it("may be claimed by anybody, the former owner too, and goes on counting", function()
    local run = pair.started()
    for attempt = 2, 4 do
      local manager = attempt % 2 == 0 and pair.ours or pair.theirs
      local owner = attempt % 2 == 0 and pair.theirs or pair.ours
      assert(owner:requeue(run.run_id))
      local claimed = assert(manager:claim_next())
      assert.same({ run.run_id, attempt, "running" }, { claimed.run_id, claimed.attempt, claimed.status })
    end
  end)

  it("respects the delay", function()
    local run = pair.started()
    assert(pair.theirs:requeue(run.run_id, { delay = 3 }))
    pair.clock.advance(2.9)
    assert.is_nil(pair.ours:claim_next())
    pair.clock.advance(0.1)
    assert.equal(run.run_id, assert(pair.ours:claim_next()).run_id)
  end)

  it("when max_attempts are used up, ends it with the error", function()
    local run = pair.started { max_attempts = 2 }
    assert.equal("pending", assert(pair.theirs:requeue(run.run_id)).status)
    assert(pair.theirs:claim_next())
    local ended = assert(pair.theirs:requeue(run.run_id, { error = "down again" }))
    assert.same({ "error", "down again", "attempts_exhausted", 2 },
      { ended.status, ended.error, ended.stop_reason, ended.attempt })
    assert.is_string(ended.ended_at)
    assert.is_nil(pair.ours:claim_next())
    assert.same({ "run_created", "run_started", "run_requeued", "run_started", "run_finished" },
      support.pluck(support.events(pair.ours_store, { run_id = run.run_id }), "kind"))
  end)

  it("of a run that was asked to stop interrupts it", function()
    local run = pair.started { max_attempts = 1 }
    pair.ours:cancel(run.run_id)
    assert.equal("interrupted", assert(pair.theirs:requeue(run.run_id, { error = "down" })).status)
    assert.is_nil(pair.ours:claim_next())
    assert.is_false(pair.ours:has_inflight "t")
  end)

  it("of a run that has not started spends no attempt", function()
    local run = assert(pair.theirs:create("t", { max_attempts = 1 }))
    assert.same({ "pending", 1 }, { pair.theirs:requeue(run.run_id).status, pair.ours:get(run.run_id).attempt })
    assert.equal(run.run_id, assert(pair.ours:claim_next()).run_id)
  end)

  it("F-15: with attempt = false spends none, though it is the last, and counts as put off", function()
    local run = pair.started { max_attempts = 1 }
    for snoozes = 1, 3 do
      local given = assert(pair.theirs:requeue(run.run_id, { attempt = false, delay = 2, error = "not yet" }))
      assert.same({ "pending", 1, snoozes }, { given.status, given.attempt, given.snoozes })
      assert.is_nil(pair.theirs:claim_next())
      pair.clock.advance(2)
      assert.equal(run.run_id, assert(pair.theirs:claim_next()).run_id)
    end
    local events = support.events(pair.ours_store, { run_id = run.run_id, kinds = { "run_requeued" } })
    assert.same({ attempt = 1, delay = 2.0, error = "not yet" }, events[3].data)
    assert.equal("error", assert(pair.theirs:requeue(run.run_id, { error = "down" })).status)
    support.raises("attempt", pair.theirs.requeue, pair.theirs, run.run_id, { attempt = 0 })
  end)

  it("F-15: with attempt = false what had not started is not put off, and one asked to stop is stopped", function()
    local run = assert(pair.theirs:create "t")
    assert.equal(0, assert(pair.theirs:requeue(run.run_id, { attempt = false })).snoozes)
    assert(pair.theirs:claim_next())
    pair.ours:cancel(run.run_id)
    local ended = assert(pair.theirs:requeue(run.run_id, { attempt = false }))
    assert.same({ "interrupted", "cancelled", 0 }, { ended.status, ended.stop_reason, ended.snoozes })
  end)

  it("OWN-8: shuts the former owner out, before and after it is claimed", function()
    local run = pair.started()
    assert(pair.theirs:requeue(run.run_id))
    pair.is_shut_out(pair.theirs, run.run_id)
    assert(pair.ours:claim_next())
    pair.is_shut_out(pair.theirs, run.run_id)
    assert(pair.ours:set_status(run.run_id, "success"))
    pair.is_shut_out(pair.theirs, run.run_id)
  end)

  it("makes the run live no more: heartbeat and shutdown do not mind it", function()
    local run = pair.started()
    assert(pair.theirs:requeue(run.run_id))
    assert.is_true(pair.theirs:get(run.run_id).store_only)
    assert.same({}, assert(pair.theirs:heartbeat()).lost)
    assert.is_false(run.abort_event:is_set())
    assert.same({ finished = {}, given_back = {}, interrupted = {} }, assert(pair.theirs:shutdown { timeout = 0 }))
    assert.equal("pending", pair.ours:get(run.run_id).status)
  end)

  it("makes the run live no more before anything else can look", function()
    local manager, run, report
    local wrapped = support.wrap(pair.theirs_store, { get = function(forward, ...)
      if run and not report then report = assert(manager:heartbeat()) end
      return forward(...)
    end })
    manager = support.manager(wrapped)
    pair.started(nil, "u", manager)
    run = pair.started(nil, "t", manager)
    assert(manager:requeue(run.run_id))
    assert.same({ {}, false }, { report.lost, run.abort_event:is_set() })
  end)

  it("of a run that has ended, of another's, or of none is refused", function()
    local run = pair.started()
    support.refused("stale_owner", pair.ours:requeue(run.run_id))
    assert(pair.theirs:set_status(run.run_id, "success"))
    support.refused("invalid_transition", pair.theirs:requeue(run.run_id))
    support.refused("not_found", pair.theirs:requeue(support.unknown_id()))
    assert.equal("success", run.status)
  end)

  it("refuses what is no time, other types, and what nobody knows", function()
    local run = pair.started()
    for _, delay in ipairs { -1, 0 / 0, math.huge, -math.huge } do
      support.invalid("delay", pair.theirs:requeue(run.run_id, { delay = delay }))
    end
    support.raises("delay", pair.theirs.requeue, pair.theirs, run.run_id, { delay = "soon" })
    support.raises("error", pair.theirs.requeue, pair.theirs, run.run_id, { error = {} })
    support.raises("colour", pair.theirs.requeue, pair.theirs, run.run_id, { colour = "red" })
    support.raises("requeue", pair.theirs.requeue, pair.theirs, nil)
    support.invalid("error", pair.theirs:requeue(run.run_id, { error = "\xff" }))
    assert.same({ "running", 1 }, { run.status, pair.ours:get(run.run_id).attempt })
  end)

  it("that the store refuses leaves the run with its owner", function()
    local wrapped = support.wrap(pair.theirs_store, { requeue = support.fail(1, support.broken()) })
    local manager = support.manager(wrapped)
    local run = pair.started(nil, "t", manager)
    support.refused("store_corrupt", manager:requeue(run.run_id))
    assert.equal(run, manager:get(run.run_id))
    assert(manager:set_status(run.run_id, "success"))
  end)
end)

describe("requeue_orphans", function()
  local pair
  after_each(support.clean_up)

  before_each(function() pair = new_pair { lease_ttl = 10 } end)

  local function recover()
    local found, err = pair.ours:reconcile_orphaned_inflight_runs { error = "lost", reconciler = "requeue_orphans" }
    assert.is_nil(err)
    return found
  end

  it("OWN-12: gives an orphan back with one loss more and the same attempt, until max_losses; then error", function()
    local run = pair.started { max_losses = 2 }
    local fence = run.fence
    for losses = 1, 2 do
      pair.clock.advance(10)
      local found = recover()
      assert.same({ run.run_id }, support.pluck(found, "run_id"))
      assert.same({ "pending", true, losses, 1 },
        { found[1].status, found[1].claimable, found[1].losses, found[1].attempt })
      local claimed = assert(pair.theirs:claim_next())
      assert.is_true(claimed.fence > found[1].fence and found[1].fence > fence)
      fence = claimed.fence
    end
    pair.clock.advance(10)
    local ended = recover()[1]
    assert.same({ "error", "lost", "losses_exhausted", "orphan_recovered", 1 },
      { ended.status, ended.error, ended.error_code, ended.stop_reason, ended.attempt })
    assert.is_nil(pair.theirs:claim_next())
  end)

  it("OWN-12: bounds the losses of runs that name no bound", function()
    pair.started()
    local losses = 0
    repeat
      pair.clock.advance(10)
      local found = recover()[1]
      if found.status == "pending" then losses = losses + 1 end
      assert.is_true(losses < 10)
    until found.status == "error" or not pair.theirs:claim_next()
    assert.equal(3, losses)
  end)

  it("OWN-12: with max_losses 0 ends the run at the first", function()
    pair.started { max_losses = 0 }
    pair.clock.advance(10)
    assert.equal("error", recover()[1].status)
  end)

  it("OWN-12: leaves run_requeued with losses and error", function()
    local run = pair.started()
    pair.clock.advance(10)
    recover()
    local events = support.events(pair.ours_store, { run_id = run.run_id, kinds = { "run_requeued" } })
    local data = events[1].data
    assert.matches("^%x+$", data.reconciler_version)
    assert.same({ losses = 1, error = "lost", stop_reason = "orphan_recovered", reconciler = "requeue_orphans",
      reconciler_version = data.reconciler_version }, data)
    assert.equal(1, #events)
  end)

  it("OWN-12: interrupts an orphan that was asked to stop", function()
    local run = pair.started()
    pair.ours:cancel(run.run_id)
    pair.clock.advance(10)
    recover()
    assert.same({ "interrupted", 0 }, { pair.ours:get(run.run_id).status, pair.ours:get(run.run_id).losses })
  end)

  it("OWN-12: no two fences of a run are ever valid, and the log shows whose turn it was", function()
    local run = pair.started { max_losses = 100 }
    local fences = { run.fence }
    for i = 1, 20 do
      local manager = i % 2 == 0 and pair.theirs or pair.ours
      if i % 3 == 0 then
        assert(pair.ours_store:requeue(run.run_id))
      else
        pair.clock.advance(10)
        assert(manager:reconcile_orphaned_inflight_runs { reconciler = "requeue_orphans" })
      end
      fences[#fences + 1] = assert(manager:claim_next()).fence
      for k = 1, #fences - 1 do
        support.refused("stale_owner", pair.ours_store:update_status(run.run_id, "success", { fence = fences[k] }))
      end
    end
    local started = support.events(pair.ours_store, { run_id = run.run_id, kinds = { "run_started" } })
    local seen = {}
    for i, event in ipairs(started) do seen[i] = event.data.fence end
    assert.same(fences, seen)
  end)

  it("OWN-12: after a kill -9 the run is claimed by another process's successor", function()
    local child = support.spawn([[
      local manager = keel.run_manager { store = assert(keel.open((...), { durability = "normal" })) }
      local run = assert(manager:create "t")
      assert(manager:try_start(run.run_id))
      say(run.run_id) hear()
    ]], { pair.path })
    local run_id = child:hear()
    assert.same({}, recover())
    child:kill()
    assert.same({ run_id }, support.pluck(recover(), "run_id"))
    local claimed = assert(pair.theirs:claim_next())
    assert.same({ run_id, 1, 1 }, { claimed.run_id, claimed.losses, claimed.attempt })
  end)
end)
