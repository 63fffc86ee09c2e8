--- Wherever a time is given, a number means seconds from now, by the store's clock.
local keel = require "keel"
local support = require "support"
local testing = require "keel.testing"

local NOW = 1763691401.5 -- 2025-11-21T02:16:41.5

support.each_store(function(open)
  describe("A number where a time is given", function()
    local store, manager

    before_each(function()
      store = open { clock = function() return NOW end }
      manager = support.manager(store)
    end)

    it("is seconds from now, of a new run", function()
      for _, method in ipairs { "create", "create_or_reject" } do
        local run = assert(manager[method](manager, method, { scheduled_at = 60, deadline = 0.25 }))
        local row = assert(store:get(run.run_id))
        for _, one in ipairs { run, row } do
          assert.equal(NOW + 60, keel.seconds(one.scheduled_at))
          assert.equal(NOW + 0.25, keel.seconds(one.deadline))
        end
      end
    end)

    it("is seconds from now, in the fields of a row", function()
      assert(store:put("r", { thread_id = "t", created_at = -5, deadline = 10 }))
      local row = store:get "r"
      assert.equal(NOW - 5, keel.seconds(row.created_at))
      assert.equal(NOW + 10, keel.seconds(row.deadline))
    end)

    it("is seconds from now, as a bound", function()
      assert(store:put("old", { thread_id = "t", status = "pending", created_at = -100 }))
      assert(store:put("new", { thread_id = "t", status = "pending", created_at = -10 }))
      assert.same({ "old" }, support.pluck(store:list_inflight { before = -50 }, "run_id"))
      assert.same({ "old" }, support.pluck(manager:reconcile_orphaned_inflight_runs { before = -50 }, "run_id"))
      assert(store:update_status("new", "success"))
      assert.equal(0, assert(store:prune { before = -1 }).runs)
      assert.equal(2, assert(store:prune { before = 1 }).runs)
    end)

    it("that is none, or too far away, is invalid_request", function()
      for _, value in ipairs { 0 / 0, math.huge, -math.huge, 1e10 } do
        support.invalid("deadline", manager:create("t", { deadline = value }))
        support.invalid("deadline", store:put("r", { thread_id = "t", deadline = value }))
        support.invalid("before", store:prune { before = value })
        support.invalid("before", store:list_inflight { before = value })
        support.invalid("before", manager:reconcile_orphaned_inflight_runs { before = value })
      end
      support.raises("deadline", manager.create, manager, "t", { deadline = true })
      support.raises("before", store.list_inflight, store, { before = true })
      assert.same({}, store:list_inflight {})
    end)
  end)
end)

describe("keel.time and keel.seconds", function()
  it("are the opposite of each other", function()
    local before = keel.seconds(keel.time())
    local later = keel.time(60)
    local seconds = assert(keel.seconds(later))
    assert.is_true(seconds >= before + 60 and seconds < before + 3600)
    assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d[.%d]*%+00:00$", later)
    assert.equal(0, keel.seconds "1970-01-01T01:00:00+01:00")
  end)

  it("refuse what is none", function()
    support.invalid("time", keel.seconds "tomorrow")
    support.raises("'time'", keel.time, "1")
    support.raises("century", keel.time, 1e300)
    support.raises("century", keel.time, 0 / 0)
  end)
end)

describe("The strategy of a run", function()
  after_each(support.clean_up)

  it("may be given as strategy, and by the manager", function()
    local store = support.open ":memory:"
    local runs = support.manager(store, { strategy = "limit", strategy_options = { max = 2 } })
    local run = assert(runs:create_or_reject "t")
    assert.same({ "limit", 2 }, { run.multitask_strategy, run.concurrency })
    assert.equal(3, assert(runs:create_or_reject("u", { strategy_options = { max = 3 } })).concurrency)
    assert.equal("allow", assert(runs:create_or_reject("t", { strategy = "allow" })).multitask_strategy)
    support.refused("conflict", runs:create_or_reject("t", { multitask_strategy = "reject" }))
    support.raises("another name", runs.create, runs, "t", { strategy = "allow", multitask_strategy = "allow" })
    support.refused("unsupported_strategy", keel.run_manager { store = store, strategy = "limits" })
    support.raises("unknown strategy option 'maks'", keel.run_manager,
      { store = store, strategy = "limit", strategy_options = { maks = 1 } })
  end)

  it("F-41: names the option that was meant, if it is built in; a strategy of the host knows its own", function()
    local runs = support.manager(support.open ":memory:", { strategies = { debounce = function(request)
      return { admit = request.options.anything == 1 }
    end } })
    local given = { strategy = "limit", strategy_options = { max_wating = 1 } }
    local function misuse() return (runs:create_or_reject("t", given)) end
    local _, message = pcall(misuse)
    assert.matches("given_times_spec.lua:" .. debug.getinfo(misuse, "S").linedefined, message)
    assert.matches("bad argument #2 to 'create_or_reject' %(unknown strategy option 'max_wating'; did you mean "
      .. "'max_waiting'%?%)", message)
    support.raises("; strategy reject has none", runs.create, runs, "t", { strategy_options = { colour = 1 } })
    assert(runs:create_or_reject("t", { strategy = "debounce", strategy_options = { anything = 1 } }))
  end)

  -- Values out of range, and one of the wrong type, of each option.
  local wrong = {
    { "enqueue", "max_waiting", -1, 1.5, 0 / 0, math.huge }, { "limit", "max", 0, -3, 2.5, math.huge },
    { "limit", "max_waiting", -1 }, { "debounce", "wait", -1, 0 / 0, math.huge, 1e9 },
    { "debounce", "max_wait", -0.5 }, { "debounce", "max", 0 },
  }
  for _, case in ipairs(wrong) do
    local strategy, name = table.unpack(case, 1, 2)
    it(("F-41: of %s, %s is looked at before anything is asked or written"):format(strategy, name), function()
      local store = support.open ":memory:"
      local runs = support.manager(store)
      for _, value in ipairs { table.unpack(case, 3) } do
        local options = { [name] = value }
        for _, call in ipairs { "create", "create_or_reject", "dry_run" } do
          local err = support.invalid(name, runs[call](runs, "t", { strategy = strategy, strategy_options = options }))
          assert.truthy(err.message:find(("strategy option '%s' must be a "):format(name), 1, true), err.message)
        end
        support.invalid(name, keel.run_manager { store = store, strategy = strategy, strategy_options = options })
        support.invalid(name, testing.decide(strategy, { options = options }))
      end
      support.raises({ name, "got 'soon'" }, runs.create, runs, "t",
        { strategy = strategy, strategy_options = { [name] = "soon" } })
      assert.equal(0, #support.events(store))
    end)
  end

  it("F-41: strict is true or false, whole numbers may be floats, and a test hears the same", function()
    local runs = support.manager(support.open ":memory:")
    support.raises({ "strict", "true or false, got 1" }, runs.create, runs, "t",
      { strategy = "enqueue", strategy_options = { strict = 1 } })
    support.raises("unknown strategy option 'maks'", testing.decide, "limit", { options = { maks = 1 } })
    local run = assert(runs:create_or_reject("t", { strategy = "limit", strategy_options = { max = 2.0 } }))
    assert.equal(2, run.concurrency)
  end)
end)
