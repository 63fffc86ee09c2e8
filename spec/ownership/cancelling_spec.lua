--- Stopping runs of other processes, and what comes of it when they end at the same time.
local new_pair = require "support.pair"
local support = require "support"

describe("cancel of another session's run", function()
  local pair
  after_each(support.clean_up)

  before_each(function() pair = new_pair() end)

  it("OWN-9: is requested; the owner sees it at its next heartbeat, once, and finishes the run itself", function()
    local run, other = pair.started(), pair.started(nil, "u")
    assert.same({ true, "requested" }, { pair.ours:cancel(run.run_id, { action = "rollback" }) })
    local row = pair.ours:get(run.run_id)
    assert.same({ "running", "rollback" }, { row.status, row.cancel_action })
    assert.is_false(run.abort_event:is_set())
    local report = assert(pair.theirs:heartbeat())
    assert.same({ run.run_id }, support.pluck(report.cancel_requested, "run_id"))
    assert.equal(run, report.cancel_requested[1])
    assert.same({ "running", "rollback", "rollback", true },
      { run.status, run.abort_action, run.cancel_action, run.abort_event:is_set() })
    assert.same({ {}, {} }, { report.lost, assert(pair.theirs:heartbeat()).cancel_requested })
    assert.is_false(other.abort_event:is_set())
    assert(pair.theirs:set_status(run.run_id, "interrupted"))
    assert(pair.theirs:set_status(run.run_id, "error", { error = "rolled back" }))
    assert.same({ "error", "rolled back" }, { pair.ours:get(run.run_id).status, pair.ours:get(run.run_id).error })
  end)

  it("OWN-9: the first action wins for ever, whoever asks, and leaves one event", function()
    local run = pair.started()
    pair.ours:cancel(run.run_id, { action = "interrupt" })
    assert.same({ true, "requested" }, { pair.ours:cancel(run.run_id, { action = "rollback" }) })
    pair.theirs:heartbeat()
    assert.same({ true, "cancelled" }, { pair.theirs:cancel(run.run_id, { action = "rollback" }) })
    assert.same({ "interrupt", "interrupt" }, { run.cancel_action, run.abort_action })
    assert.equal("interrupt", pair.ours:get(run.run_id).cancel_action)
    assert.equal(1, #support.events(pair.ours_store, { kinds = { "run_cancel_requested" } }))
  end)

  it("OWN-9: of a dead owner is taken over", function()
    local run = pair.started()
    pair.theirs_store:close()
    assert.same({ true, "taken_over" }, { pair.ours:cancel(run.run_id, { action = "rollback" }) })
    local row = pair.ours:get(run.run_id)
    assert.same({ "interrupted", "rollback", 2 }, { row.status, row.cancel_action, row.fence })
    assert.same({ true, "cancelled" }, { pair.ours:cancel(run.run_id) })
  end)

  it("OWN-9: of a pending run ends it at once; the owner's start says cancelled", function()
    local run = assert(pair.theirs:create "t")
    assert.same({ true, "cancelled" }, { pair.ours:cancel(run.run_id) })
    assert.equal("cancelled", pair.theirs:try_start(run.run_id))
    assert.same({ "interrupted", true }, { run.status, run.abort_event:is_set() })
  end)

  it("OWN-9: of a pending run shows at its owner's heartbeat", function()
    local run = assert(pair.theirs:create "t")
    pair.ours:cancel(run.run_id)
    assert.equal(run, assert(pair.theirs:heartbeat()).lost[1])
    assert.same({ "interrupted", true }, { run.status, run.abort_event:is_set() })
  end)

  it("OWN-9: of a run that is to be claimed ends it at once, whoever asks", function()
    local run = assert(pair.theirs:create("t", { claimable = true }))
    assert.same({ true, "cancelled" }, { pair.theirs:cancel(run.run_id) })
    assert.equal("interrupted", pair.theirs:get(run.run_id).status)
    assert.is_nil(pair.ours:claim_next())
  end)

  it("OWN-9: by its maker, of a run that another claimed, is requested", function()
    local run = assert(pair.theirs:create("t", { claimable = true }))
    local claimed = assert(pair.ours:claim_next())
    assert.same({ true, "requested" }, { pair.theirs:cancel(run.run_id) })
    assert.equal(claimed, assert(pair.ours:heartbeat()).cancel_requested[1])
  end)

  it("OWN-9: by an owner that has lost it is a request to the new owner", function()
    local run = pair.started()
    assert(pair.ours_store:put(run.run_id, { session_id = pair.ours_store:session_id(), fence = 2 }))
    assert.same({ true, "requested" }, { pair.theirs:cancel(run.run_id) })
    assert.same({ "running", "interrupt" },
      { pair.ours_store:get(run.run_id).status, pair.ours_store:get(run.run_id).cancel_action })
  end)

  it("OWN-9: that was asked for is kept when the run is given back: it is interrupted", function()
    local run = pair.started()
    pair.ours:cancel(run.run_id, { action = "rollback" })
    assert.equal("interrupted", assert(pair.theirs:requeue(run.run_id)).status)
    assert.same({ "interrupted", "rollback" }, { run.status, pair.ours:get(run.run_id).cancel_action })
  end)

  it("with an action nobody knows, or another type, is refused", function()
    local run = pair.started()
    support.invalid("action", pair.ours:cancel(run.run_id, { action = "explode" }))
    support.raises("action", pair.ours.cancel, pair.ours, run.run_id, { action = 1 })
    support.raises("colour", pair.ours.cancel, pair.ours, run.run_id, { colour = "red" })
    assert.is_nil(pair.ours:get(run.run_id).cancel_action)
  end)

  it("changes nothing when the store fails in the middle", function()
    local run = pair.started()
    for _, override in ipairs { { tx = { request_cancel = support.fail(math.huge, support.broken()) } },
      { tx = { commit = support.fail(math.huge, support.broken()) } },
      { tx = { claim_for_takeover = support.fail(math.huge, support.broken()) } } } do
      local wrapped = support.wrap(pair.ours_store, override)
      support.refused("store_corrupt", support.manager(wrapped):cancel(run.run_id))
      assert.is_nil(pair.ours_store:get(run.run_id).cancel_action)
    end
  end)

  it("is given up when the session cannot be told: what waited for the lock does not wait for it again", function()
    local run = pair.started()
    local wrapped, calls = support.wrap(pair.ours_store, { session_id = support.fail(math.huge, support.busy()) })
    support.refused("busy", support.manager(wrapped):cancel(run.run_id))
    assert.equal(0, calls.begin + calls.transaction)
    assert.is_nil(pair.ours_store:get(run.run_id).cancel_action)
  end)
end)

describe("A cancel and a finish that race", function()
  local pair
  after_each(support.clean_up)

  before_each(function() pair = new_pair() end)

  -- A manager on their store; `what(run_id)` happens between its look and its write.
  local function overtaken(method, what)
    return support.manager(support.wrap(pair.theirs_store, {
      [method] = function(forward, run_id, ...)
        what(run_id)
        return forward(run_id, ...)
      end,
    }))
  end

  for _, status in ipairs { "success", "error", "timeout" } do
    it("OWN-11: when " .. status .. " was first, the cancel is told", function()
      local manager = overtaken("update_status", function(run_id)
        assert(pair.theirs_store:update_status(run_id, status))
      end)
      local run = assert(manager:create "t")
      assert.same({ false, "not_cancellable" }, { manager:cancel(run.run_id) })
      assert.equal(status, run.status)
      assert.same({ status }, { pair.ours:get(run.run_id).status })
    end)
  end

  it("OWN-11: when the cancel was first, the finish is told", function()
    local run = pair.started()
    assert.same({ true, "cancelled" }, { pair.theirs:cancel(run.run_id) })
    local err = support.refused("invalid_transition", pair.theirs:set_status(run.run_id, "success"))
    assert.same({ "interrupted", "success" }, { err.from, err.to })
    assert.same({ "interrupted", "interrupted" }, { run.status, pair.ours:get(run.run_id).status })
  end)

  it("OWN-11: when another process's cancel of a pending run was first, the finish is told", function()
    local run = assert(pair.theirs:create "t")
    pair.ours:cancel(run.run_id)
    local err = support.refused("invalid_transition", pair.theirs:set_status(run.run_id, "success"))
    assert.equal("interrupted", err.from)
    assert.equal("interrupted", run.status)
  end)

  it("OWN-11: when a completion was first, another process's cancel is told", function()
    local run = pair.started()
    assert(pair.theirs:update_run_completion(run.run_id, { status = "success", total_tokens = 3 }))
    assert.same({ false, "not_cancellable" }, { pair.ours:cancel(run.run_id) })
    assert.same({ "success", 3 }, { pair.ours:get(run.run_id).status, pair.ours:get(run.run_id).total_tokens })
  end)

  it("OWN-11: an owner that was asked to stop and succeeds all the same has succeeded", function()
    local run = pair.started()
    assert.same({ true, "requested" }, { pair.ours:cancel(run.run_id) })
    assert(pair.theirs:set_status(run.run_id, "success"))
    assert.same({ false, "not_cancellable" }, { pair.ours:cancel(run.run_id) })
    assert.equal("success", pair.ours:get(run.run_id).status)
  end)

  it("OWN-11: of two cancels both hear that it is cancelled", function()
    local run = pair.started()
    assert.same({ true, "cancelled" }, { pair.theirs:cancel(run.run_id) })
    assert.same({ true, "cancelled" }, { pair.theirs:cancel(run.run_id) })
    assert.same({ true, "cancelled" }, { pair.ours:cancel(run.run_id) })
    assert.equal(1, #support.events(pair.ours_store, { run_id = run.run_id, kinds = { "run_finished" } }))
  end)

  it("OWN-11: between processes, round after round, both sides tell the same story", function()
    local path, rounds = support.path(), 25
    local child = support.spawn([[
      local path, rounds = ...
      local manager = keel.run_manager { store = assert(keel.open(path, { durability = "off" })) }
      for _ = 1, rounds do
        local run = assert(manager:create "t")
        say(run.run_id) hear()
        local done, err = manager:set_status(run.run_id, "success")
        say(done and "success" or err.code .. " " .. run.status)
      end
    ]], { path, rounds })
    local manager = support.manager(support.open(path, { durability = "off" }))
    for _ = 1, rounds do
      local run_id = child:hear()
      child:say "go"
      local done, verdict = manager:cancel(run_id)
      local told = child:hear()
      local status = manager:get(run_id).status
      if done then
        assert.same({ "cancelled", "invalid_transition interrupted", "interrupted" }, { verdict, told, status })
      else
        assert.same({ "not_cancellable", "success", "success" }, { verdict, told, status })
      end
    end
    child:finish()
  end)
end)
