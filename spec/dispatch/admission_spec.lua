--- One active run a machine, whoever asks.
local keel = require "keel"
local support = require "support"

--- A make that counts its calls, and the calls.
local function counting(record)
  local calls = { count = 0 }
  return function()
    calls.count = calls.count + 1
    return record or { test_dir = "/srv/t" }
  end, calls
end

--- Ends a run.
local function finish(dispatcher, run)
  run.status = "completed"
  return assert(dispatcher:update(run))
end

support.each_store(function(open)
  local store, dispatcher
  before_each(function()
    store = open()
    dispatcher = keel.dispatcher { store = store }
  end)

  it("DISPATCH-1: a free machine gets a pending run, made by one call of make", function()
    local make, calls = counting { test_dir = "/srv/t", batch_id = "b", plan_entry = "1", status = "running",
      id = "of-the-caller", revision = 7, machine = "m1", logs_path = "/log", started_at = "2026-01-01T00:00:00Z",
      ended_at = "2026-01-01T00:00:01Z" }
    local run, verdict = assert(dispatcher:prepare_atomic("m1", "h1", make))
    assert.same({ "created", 1 }, { verdict, calls.count })
    assert.same({ id = run.id, machine = "m1", test_dir = "/srv/t", test_dir_hash = "h1", status = "pending",
      artifacts_path = "", logs_path = "/log", error_code = "", error_msg = "", batch_id = "b", plan_entry = "1",
      revision = 1 }, run)
    assert.not_equal("of-the-caller", run.id)
    assert.same(run, dispatcher:get(run.id))
    assert.not_equal(run, dispatcher:get(run.id)) -- a copy
    local event = support.events(store)[1]
    assert.same({ "run_created", "reuse", run.id }, { event.kind, event.data.strategy, event.run_id })
  end)

  it("DISPATCH-2: an active run is reused for its hash and in the way of any other; make is not called", function()
    local first = assert(dispatcher:prepare_atomic("m1", "h1", (counting())))
    local make, calls = counting()
    for _, status in ipairs { "pending", "running" } do
      first.status = status
      first = assert(dispatcher:update(first))
      for hash, wanted in pairs { h1 = "reuse", h2 = "busy" } do
        local run, verdict = dispatcher:prepare_atomic("m1", hash, make)
        assert.same({ wanted, first }, { verdict, run })
      end
    end
    assert.equal(0, calls.count)
    assert.equal("created", select(2, dispatcher:prepare_atomic("m2", "h1", make)))
  end)

  it("DISPATCH-3: a terminal run never dedupes", function()
    for _, status in ipairs { "completed", "failed", "interrupted", "timeout" } do
      local run, verdict = assert(dispatcher:prepare_atomic("m1", "h1", (counting())))
      assert.equal("created", verdict)
      run.status = status
      assert(dispatcher:update(run))
    end
    assert.equal(4, #dispatcher:find_by_test_dir_hash_and_machine("h1", "m1"))
  end)

  describe("DISPATCH-5: a make that", function()
    local function leaves_nothing()
      assert.same({ {}, 0 }, { dispatcher:list(), #support.events(store) })
      assert.is_nil(dispatcher:active_by_machine "m1")
      assert.equal("created", select(2, dispatcher:prepare_atomic("m1", "h1", (counting()))))
    end

    it("returns nil and an error leaves nothing, and the error comes back as it is", function()
      for _, err in ipairs { "no such host", { code = "busy", transient = true } } do
        local calls = 0
        local run, why = dispatcher:prepare_atomic("m1", "h1", function()
          calls = calls + 1
          return nil, err
        end)
        assert.same({ nil, err, 1 }, { run, why, calls })
      end
      leaves_nothing()
    end)

    it("raises leaves nothing, and what it raised passes through", function()
      local raised = setmetatable({}, {})
      local ok, err = pcall(dispatcher.prepare_atomic, dispatcher, "m1", "h1", function() error(raised) end)
      assert.same({ false, true }, { ok, rawequal(err, raised) })
      support.raises("database is locked", dispatcher.prepare_atomic, dispatcher, "m1", "h1", function()
        error "database is locked"
      end)
      leaves_nothing()
    end)

    it("yields, or returns nothing, or another thing than a record, leaves nothing", function()
      support.raises("yield", coroutine.wrap(function()
        dispatcher:prepare_atomic("m1", "h1", function() coroutine.yield() end)
      end))
      support.raises("make must return a table", dispatcher.prepare_atomic, dispatcher, "m1", "h1", function() end)
      support.raises("make must return a table", dispatcher.prepare_atomic, dispatcher, "m1", "h1", os.time)
      support.raises("tset_dir", dispatcher.prepare_atomic, dispatcher, "m1", "h1", function()
        return { tset_dir = "/srv/t" }
      end)
      support.raises("exit_code", dispatcher.prepare_atomic, dispatcher, "m1", "h1", function()
        return { exit_code = "0" }
      end)
      leaves_nothing()
    end)

    it("speaks of another machine or hash, or has a bad value, leaves nothing", function()
      for field, value in pairs { machine = "m2", test_dir_hash = "h2", test_dir = "\xff", batch_id = "a\nb" } do
        support.invalid(field, dispatcher:prepare_atomic("m1", "h1", function() return { [field] = value } end))
      end
      leaves_nothing()
    end)

    it("uses the store finds it busy", function()
      local run, err = dispatcher:prepare_atomic("m1", "h1", function()
        support.refused("busy", store:get "x")
        support.refused("busy", dispatcher:list())
        return { test_dir = "/srv/t" }
      end)
      assert(run, err)
    end)
  end)

  it("DISPATCH-1: make is called once even if the commit has to be tried again", function()
    local failing = support.wrap(store, { tx = { commit = support.fail(1, support.busy()) } })
    local make, calls = counting()
    local second = keel.dispatcher { store = failing, retry = support.retry() }
    assert.equal("created", select(2, second:prepare_atomic("m1", "h1", make)))
    assert.same({ 1, 1 }, { calls.count, #dispatcher:list() })
  end)

  it("DISPATCH-6: create gives a fresh id and keeps one active run a machine", function()
    local given = { id = "mine", revision = 9, machine = "m1", test_dir = "/srv/t", test_dir_hash = "h1" }
    local run = assert(dispatcher:create(given))
    assert.not_equal("mine", run.id)
    assert.same({ "pending", 1, "mine" }, { run.status, run.revision, given.id })
    for _, hash in ipairs { "h1", "h2" } do
      local err = support.refused("conflict", dispatcher:create { machine = "m1", test_dir_hash = hash })
      assert.same({ "m1", run.id }, { err.machine, err.run_id })
    end
    finish(dispatcher, run)
    run = assert(dispatcher:create { machine = "m1", test_dir_hash = "h2", status = "running" })
    assert.equal("running", run.status)
  end)

  it("DISPATCH-6: create stores a run that has ended beside an active one, with all it has", function()
    assert(dispatcher:create { machine = "m1", test_dir_hash = "h1" })
    local old = { machine = "m1", test_dir = "/srv/t", test_dir_hash = "h0", status = "failed", exit_code = 3,
      started_at = "2026-01-01T00:00:00+00:00", ended_at = "2026-01-01T01:00:00+01:00", artifacts_path = "/a",
      logs_path = "/l", error_code = "e", error_msg = "m", batch_id = "b", plan_entry = "p" }
    local run = assert(dispatcher:create(old))
    assert.same(run, dispatcher:get(run.id))
    old.id, old.revision, old.ended_at = run.id, 1, "2026-01-01T00:00:00+00:00"
    assert.same(old, run)
  end)

  it("DISPATCH-6: create refuses what is no run, and stores nothing", function()
    for field, record in pairs {
      machine = { test_dir_hash = "h" }, test_dir_hash = { machine = "m" },
      status = { machine = "m", test_dir_hash = "h", status = "success" },
      started_at = { machine = "m", test_dir_hash = "h", started_at = "yesterday" },
      ended_at = { machine = "m", test_dir_hash = "h", ended_at = "2026-01-01T00:00:00Z" }, -- it has not ended
      error_msg = { machine = "m", test_dir_hash = "h", error_msg = "\xff" },
    } do
      support.invalid(field, dispatcher:create(record))
    end
    support.invalid("machine", dispatcher:create { machine = ("m"):rep(244), test_dir_hash = "h" })
    support.raises("machin", dispatcher.create, dispatcher, { machin = "m" })
    support.raises("exit_code", dispatcher.create, dispatcher, { exit_code = 1.5 })
    assert.same({}, dispatcher:list())
    assert(dispatcher:create { machine = ("m"):rep(243), test_dir_hash = "h" })
  end)

  it("a store that fails is an error, and nothing is stored", function()
    local broken = keel.dispatcher {
      store = support.wrap(store, { list_dispatched = support.fail(9, support.broken()),
        list_inflight = support.fail(9, support.broken()), get = support.fail(9, support.broken()),
        tx = { put = support.fail(9, support.broken()) } }),
    }
    local make = counting()
    support.refused("store_corrupt", broken:prepare_atomic("m1", "h1", make))
    support.refused("store_corrupt", broken:create { machine = "m1", test_dir_hash = "h1" })
    support.refused("store_corrupt", broken:active_by_machine "m1")
    support.refused("store_corrupt", broken:list())
    support.refused("store_corrupt", broken:batch "b")
    support.refused("store_corrupt", broken:get(support.unknown_id()))
    assert.same({}, dispatcher:list())
  end)
end)
