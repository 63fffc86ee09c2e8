--- What becomes of an orphan does not depend on who looks first.
local new_pair = require "support.pair"
local recovery = require "keel.recovery"
local support = require "support"

describe("An orphan", function()
  local pair
  after_each(support.clean_up)
  before_each(function() pair = new_pair() end)

  -- A run made claimable by `theirs`, claimed and lost by it.
  local function lost(options)
    options = options or {}
    options.claimable = true
    local run = assert(pair.theirs:create("t", options))
    assert(pair.theirs:claim_next())
    pair.theirs_store:close()
    return run.run_id
  end

  local looks = {
    ["a newcomer"] = function(manager)
      assert(manager:create_or_reject("t", { multitask_strategy = "enqueue", claimable = true }))
    end,
    ["a tick"] = function(manager) assert(manager:tick()) end,
    ["a call of reconcile"] = function(manager) assert(manager:reconcile_orphaned_inflight_runs()) end,
  }
  for who, look in pairs(looks) do
    it("F-12: that others can run is given back, whoever looks first: " .. who, function()
      local run_id = lost { max_attempts = 5 }
      look(pair.ours)
      local row = pair.ours_store:get(run_id)
      assert.same({ "pending", true, 1, 1 }, { row.status, row.claimable, row.attempt, row.losses })
      assert.equal(run_id, assert(pair.ours:claim_next()).run_id)
    end)

    it("F-12: the store's reconciler decides, whoever looks first: " .. who, function()
      assert.is_nil(pair.ours_store:reconciler())
      assert(pair.ours_store:set_reconciler "fail_orphans")
      assert.equal("fail_orphans", pair.theirs_store:reconciler())
      local run_id = lost()
      look(support.manager(pair.ours_store, { reconciler = "requeue_orphans" }))
      assert.equal("error", pair.ours_store:get(run_id).status)
    end)
  end

  it("F-12: is left as it is while the store's reconciler cannot be read", function()
    local run_id = lost()
    local wrapped = support.wrap(pair.ours_store, { reconciler = support.fail(math.huge, support.broken()) })
    local recovered, err = support.manager(wrapped):reconcile_orphaned_inflight_runs()
    assert.same({ 0, support.broken().code }, { #recovered, err.code })
    assert.equal("running", pair.ours_store:get(run_id).status)
  end)

  it("F-12: is looked at once by a sweep, though a page starts over", function()
    local asked, pages = {}, { { "a", "b" }, { "a", "b", "c" } }
    local ids, err = recovery.sweep {
      budget = { instructions = 100000, seconds = 1 }, log = function() end,
      session_id = function() return nil end,
      now = function() return "2026-01-01T00:00:00+00:00" end, is_alive = function() return false end,
      reconciler = "note", reconcilers = { note = function(run)
        asked[#asked + 1] = run.run_id
        return nil
      end },
      list = function()
        local page = {}
        for i, run_id in ipairs(table.remove(pages, 1)) do
          page[i] = { run_id = run_id, session_id = 1, operation_kind = "run", status = "running" }
        end
        return page, #pages > 0
      end,
    }
    assert.is_nil(err)
    assert.same({ {}, { "a", "b", "c" } }, { ids, asked })
  end)

  it("F-12: that only its owner could run has failed", function()
    local run = pair.started()
    pair.theirs_store:close()
    assert.equal(1, #assert(pair.ours:tick()).recovered)
    local row = pair.ours_store:get(run.run_id)
    assert.same({ "error", "the owner of the run is gone" }, { row.status, row.error })
  end)

  it("F-12: is given back until three owners have died under it, unless it says otherwise", function()
    for _, case in ipairs { { nil, 3 }, { 1, 1 }, { 0, 0 } } do
      local run = assert(pair.ours:create("t", { claimable = true, max_losses = case[1] }))
      local losses = 0
      while true do
        local store = support.open(pair.path, { durability = "off" })
        if not assert(store:claim_next()) then break end
        store:close()
        assert(pair.ours:tick())
        local row = pair.ours_store:get(run.run_id)
        if row.status == "error" then
          assert.equal("losses_exhausted", row.error_code)
          break
        end
        losses = losses + 1
      end
      assert.equal(case[2], losses)
    end
  end)

  it("F-12: the run's own reconciler, then the call's, the store's, the manager's", function()
    local by = {}
    for _, name in ipairs { "run", "call", "store", "manager" } do
      by[name] = function() return { status = "error", error = name } end
    end
    local function decided(run_option, call_option, store_option)
      local dead = support.open(pair.path, { durability = "off" })
      local manager = support.manager(dead, { reconcilers = by })
      local run = assert(manager:create("t", { reconciler = run_option }))
      dead:close()
      assert(pair.ours_store:set_reconciler(store_option))
      local judge = support.manager(pair.ours_store, { reconcilers = by, reconciler = "manager" })
      assert(judge:tick { reconciler = call_option })
      return pair.ours_store:get(run.run_id).error
    end
    assert.equal("run", decided("run", "call", "store"))
    assert.equal("call", decided(nil, "call", "store"))
    assert.equal("store", decided(nil, nil, "store"))
    assert.equal("manager", decided(nil, nil, nil))
  end)

  it("set_reconciler takes a name or nothing, survives a reopening, and needs a store that can be written", function()
    local store = pair.ours_store
    support.invalid("reconciler", store:set_reconciler "")
    support.raises("reconciler", store.set_reconciler, store, 5)
    assert(store:set_reconciler "expire_deadlines")
    assert.equal("expire_deadlines", support.open(pair.path, { readonly = true }):reconciler())
    support.refused("store_readonly", support.open(pair.path, { readonly = true }):set_reconciler "fail_orphans")
    assert(store:set_reconciler(nil))
    assert.is_nil(store:reconciler())
  end)
end)

describe("A jump of the wall clock", function()
  after_each(support.clean_up)

  -- Two sessions whose wall clocks can jump, and a monotonic clock that only advances.
  local function judged(options)
    local wall, steady, path = support.clock(), support.clock(), support.path()
    local stores, managers = {}, {}
    for i = 1, 2 do
      stores[i] = support.open(path, { clock = wall.read, monotonic = steady.read, durability = "off" })
      managers[i] = support.manager(stores[i], options)
    end
    return wall, steady, stores, managers
  end

  it("F-16: takes nothing from a live owner that renews; an owner that does not is taken over in time", function()
    local wall, steady, stores, managers = judged { lease_ttl = 30, lease_grace = 5 }
    local run = assert(managers[1]:create "t")
    assert(managers[1]:try_start(run.run_id))
    local function recovered() return #assert(managers[2]:tick { reconciler = "requeue_orphans" }).recovered end
    for _ = 1, 5 do
      wall.advance(3600)
      assert.equal(0, recovered())
      assert(managers[1]:heartbeat())
      wall.advance(-7200)
      steady.advance(30)
      assert.equal(0, recovered())
    end
    steady.advance(34.9)
    assert.equal(0, recovered())
    steady.advance(0.2)
    assert.equal(1, recovered())
    assert.is_true(stores[2]:session_alive(stores[1]:session_id()))
    support.refused("stale_owner", managers[1]:set_status(run.run_id, "success"))
  end)

  it("F-16: a clock that stands still hides no heartbeat", function()
    local _, steady, _, managers = judged { lease_ttl = 30 }
    local run = assert(managers[1]:create "t")
    assert(managers[1]:try_start(run.run_id))
    for _ = 1, 4 do
      assert.equal(0, #assert(managers[2]:tick()).recovered)
      steady.advance(20)
      assert(managers[1]:heartbeat())
    end
    assert.equal(0, #assert(managers[2]:tick()).recovered)
  end)

  it("F-16: who has just opened the store watches for the lease and its grace first, and says so", function()
    local wall, steady, stores, managers = judged { lease_ttl = 30 }
    local run = assert(managers[1]:create "t")
    assert(managers[1]:try_start(run.run_id))
    wall.advance(31)
    local answer = assert(managers[2]:explain(run.run_id))
    assert.equal(30, answer.lease_left)
    assert.matches("has not watched it for long enough", answer.note)
    assert.equal(0, #assert(managers[2]:reconcile_orphaned_inflight_runs()))
    assert.equal(30, stores[2]:lease_left(run.run_id))
    steady.advance(30)
    assert.equal(0, stores[2]:lease_left(run.run_id))
    assert.equal(1, #assert(managers[2]:reconcile_orphaned_inflight_runs()))
    assert.is_nil((stores[2]:lease_left(run.run_id)))
  end)

  it("F-16: does not shorten the time that an owner has to stop and to settle", function()
    local wall, steady, _, managers = judged { settle_timeout = 10 }
    local old = assert(managers[1]:create "t")
    assert(managers[1]:try_start(old.run_id))
    local new = assert(managers[2]:create_or_reject("t", { multitask_strategy = "interrupt" }))
    assert.equal("waiting", managers[2]:try_start(new.run_id))
    wall.advance(3600)
    assert.equal("waiting", managers[2]:try_start(new.run_id))
    assert.equal(1, #assert(managers[1]:heartbeat()).cancel_requested)
    assert(managers[1]:cancel(old.run_id)) -- it is finalizing now
    assert.equal("waiting", managers[2]:try_start(new.run_id))
    wall.advance(3600)
    assert.equal("waiting", managers[2]:try_start(new.run_id))
    steady.advance(10)
    assert.equal("started", managers[2]:try_start(new.run_id))
  end)

  it("F-16: leaves a lease of a name with its holder, who renews", function()
    local wall, steady, stores = judged()
    local lease = assert(stores[1]:lease("n", { ttl = 30 }))
    for _ = 1, 3 do
      wall.advance(3600)
      support.refused("lease_held", stores[2]:lease("n", { ttl = 30 }))
      steady.advance(20)
      assert(lease:renew(30))
    end
    support.refused("lease_held", stores[2]:lease("n", { ttl = 30 }))
    steady.advance(30)
    assert.equal(2, assert(stores[2]:lease("n", { ttl = 30 })).token)
  end)
end)
