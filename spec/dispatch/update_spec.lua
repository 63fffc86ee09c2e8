--- Looking at one run, and replacing it by revision.
local keel = require "keel"
local support = require "support"

local TERMINAL = { "completed", "failed", "interrupted", "timeout" }

support.each_store(function(open, backend)
  local store, dispatcher
  before_each(function()
    store = open()
    dispatcher = keel.dispatcher { store = store }
  end)

  local function fresh(machine)
    return assert(dispatcher:create { machine = machine or "m1", test_dir = "/srv/t", test_dir_hash = "h1" })
  end

  it("DISPATCH-7: an unknown id is not_found", function()
    for _, id in ipairs { support.unknown_id(), "", "a\nb", ("x"):rep(300) } do
      assert.equal(id, support.refused("not_found", dispatcher:get(id)).run_id)
    end
    support.raises("get", dispatcher.get, dispatcher, nil)
  end)

  it("DISPATCH-7: update of an unknown id is not_found, before anything else", function()
    support.refused("not_found", dispatcher:update { id = support.unknown_id() })
    support.refused("not_found", dispatcher:update { id = support.unknown_id(), status = "done", exit_code = "x" })
    support.raises("'id' must be a string", dispatcher.update, dispatcher, {})
  end)

  it("DISPATCH-8: a copy with the row's revision replaces the record and gives what is stored", function()
    local run = fresh()
    local changed = { id = run.id, machine = "m1", test_dir = "/srv/u", test_dir_hash = "h2", status = "running",
      exit_code = 7, started_at = "2026-01-01T00:00:00.5+02:00", artifacts_path = "/a", logs_path = "/l",
      error_code = "e", error_msg = "m", batch_id = "b", plan_entry = "p", revision = 1 }
    local stored = assert(dispatcher:update(changed))
    assert.same(stored, dispatcher:get(run.id))
    changed.revision, changed.started_at = 2, "2025-12-31T22:00:00.500000+00:00"
    assert.same(changed, stored)
    for _, name in ipairs { "exit_code", "artifacts_path", "logs_path", "error_code", "batch_id", "plan_entry" } do
      stored[name] = nil
    end
    stored.error_msg, stored.exit_code = "", keel.null
    local bare = assert(dispatcher:update(stored))
    assert.same({ "", "", "", "" }, { bare.artifacts_path, bare.logs_path, bare.error_code, bare.error_msg })
    assert.same({}, { bare.exit_code, bare.batch_id, bare.plan_entry })
    assert.equal(changed.started_at, bare.started_at) -- a time that is not given stays
  end)

  it("DISPATCH-8: a stale copy is a conflict, and changes nothing", function()
    local run = fresh()
    local stale = dispatcher:get(run.id)
    run.status = "running"
    assert(dispatcher:update(run))
    stale.status = "failed"
    local err = support.refused("conflict", dispatcher:update(stale))
    assert.same({ run.id, 2 }, { err.run_id, err.revision })
    support.refused("conflict", dispatcher:update(run)) -- the old copy of the one who changed it, too
    assert.equal("running", dispatcher:get(run.id).status)
    stale.revision = 3
    support.refused("conflict", dispatcher:update(stale))
  end)

  it("DISPATCH-8: without a revision, or with another machine, it is invalid_request", function()
    local run = fresh()
    run.revision = nil
    support.invalid("revision", dispatcher:update(run))
    run.revision, run.machine = 1, "m2"
    support.invalid("machine", dispatcher:update(run))
    support.invalid("machine", dispatcher:update { id = run.id, revision = 1 })
    support.invalid("status", dispatcher:update { id = run.id, revision = 1, machine = "m1", test_dir_hash = "h1" })
    run.machine, run.status = "m1", "success"
    support.invalid("status", dispatcher:update(run))
    run.status, run.ended_at = "running", "2026-01-01T00:00:00Z"
    support.invalid("ended_at", dispatcher:update(run))
    run.ended_at, run.exit_code = nil, "1"
    support.raises("exit_code", dispatcher.update, dispatcher, run)
    run.exit_code, run.exitcode = nil, 1
    support.raises("exitcode", dispatcher.update, dispatcher, run)
    assert.equal(1, dispatcher:get(run.id).revision)
  end)

  it("DISPATCH-8: a terminal run is never revived, nor ends otherwise", function()
    for _, ended in ipairs(TERMINAL) do
      local run = fresh()
      run.status = ended
      run = assert(dispatcher:update(run))
      for _, status in ipairs { "pending", "running", "completed", "failed", "interrupted", "timeout" } do
        if status ~= ended then
          run.status = status
          local err = support.refused("invalid_transition", dispatcher:update(run))
          assert.same({ ended, status, run.id }, { err.from, err.to, err.run_id })
        end
      end
      assert.equal(ended, dispatcher:get(run.id).status)
    end
  end)

  it("DISPATCH-8: what was found later can be added to a terminal run", function()
    local run = fresh()
    run.status, run.exit_code = "failed", 1
    run = assert(dispatcher:update(run))
    run.artifacts_path = "/collected"
    assert.same({ "/collected", 1, 3 }, { (function(stored)
      return stored.artifacts_path, stored.exit_code, stored.revision
    end)(assert(dispatcher:update(run))) })
    assert.equal(2, #support.events(store)) -- created, finished
  end)

  it("DISPATCH-8: a started run does not go back", function()
    local run = fresh()
    run.status = "running"
    run = assert(dispatcher:update(run))
    run.status = "pending"
    support.refused("invalid_transition", dispatcher:update(run))
  end)

  it("DISPATCH-8: an update that changes nothing succeeds and leaves the revision", function()
    local run = fresh()
    assert.same(run, dispatcher:update(run))
    assert.same(run, dispatcher:update(run))
  end)

  it("a run that starts and ends is stamped, unless the caller says when", function()
    local run = fresh()
    run.status = "running"
    run = assert(dispatcher:update(run))
    run.status, run.ended_at = "completed", "2030-01-01T00:00:00Z"
    local started = assert(run.started_at)
    run = assert(dispatcher:update(run))
    assert.same({ started, "2030-01-01T00:00:00+00:00" }, { run.started_at, run.ended_at })
  end)

  it("each change of status has its event", function()
    local run = fresh()
    run.status = "running"
    run = assert(dispatcher:update(run))
    run.status, run.error_msg = "failed", "why"
    assert(dispatcher:update(run))
    local events = support.events(store)
    assert.same({ "run_created", "run_started", "run_finished" }, support.pluck(events, "kind"))
    assert.same({ "error", "why" }, { events[3].data.status, events[3].data.error })
  end)

  it("keel.dispatcher.is_terminal knows the last four statuses", function()
    for _, status in ipairs(TERMINAL) do assert.is_true(keel.dispatcher.is_terminal(status)) end
    for _, status in ipairs { "pending", "running", "success", "error", "" } do
      assert.is_false(keel.dispatcher.is_terminal(status))
    end
    support.raises("is_terminal", keel.dispatcher.is_terminal)
  end)

  if backend == "sqlite" then
    it("DISPATCH-13: what a run came to survives reopening", function()
      local path = support.path()
      local first = keel.dispatcher { store = support.open(path) }
      local run = assert(first:create { machine = "m1", test_dir = "/srv/t", test_dir_hash = "h1", batch_id = "b" })
      run.status, run.exit_code, run.error_code, run.error_msg = "failed", -1, "code", "message"
      run.artifacts_path, run.logs_path = "/a", "/l"
      run.started_at, run.ended_at = "2026-01-01T00:00:00.000001+00:00", "2026-01-02T00:00:00+00:00"
      run = assert(first:update(run))
      first._client.store:close()
      local second = keel.dispatcher { store = support.open(path) }
      assert.same(run, second:get(run.id))
      assert.same({ run }, (second:batch "b"))
    end)
  end
end)
