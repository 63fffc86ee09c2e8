local keel = require "keel"
local support = require "support"

local function collect()
  for _ = 1, 3 do collectgarbage() end
end

local function count(weak)
  local n = 0
  for _ in pairs(weak) do n = n + 1 end
  return n
end

support.each_store(function(open)
  describe("cleanup", function()
    it("RUN-22: drops the live record; the row stays", function()
      local store = open()
      local manager = support.manager(store)
      local run = assert(manager:create "t")
      assert(manager:set_status(run.run_id, "success"))
      manager:cleanup(run.run_id, { delay = 0 })
      local found = assert(manager:get(run.run_id))
      assert.is_false(rawequal(run, found))
      assert.same({ true, "success" }, { found.store_only, found.status })
    end)

    it("RUN-22: gives up the ownership: an in-flight run is an orphan at once", function()
      local store = open()
      local manager = support.manager(store)
      local run = assert(manager:create "t")
      assert(manager:set_status(run.run_id, "running"))
      assert.same({}, manager:reconcile_orphaned_inflight_runs { error = "lost" })
      manager:cleanup(run.run_id, { delay = 0 })
      local recovered = manager:reconcile_orphaned_inflight_runs { error = "lost" }
      assert.same({ run.run_id }, support.pluck(recovered, "run_id"))
      assert.same({ "error", "lost" }, { store:get(run.run_id).status, store:get(run.run_id).error })
    end)

    it("RUN-22: of a run that is not live changes nothing", function()
      local store = open()
      local run = assert(support.manager(store):create "t")
      local before = store:get(run.run_id)
      support.manager(store):cleanup(support.unknown_id(), { delay = 0 })
      assert.same(before, store:get(run.run_id))
    end)
  end)
end)

describe("A manager without a store of its own", function()
  it("RUN-22: has nothing left of a run that was cleaned up", function()
    local manager = keel.run_manager { store = ":memory:" }
    local run = assert(manager:create "t")
    assert(manager:set_status(run.run_id, "success"))
    manager:cleanup(run.run_id, { delay = 0 })
    assert.is_nil(manager:get(run.run_id))
    assert.same({}, manager:list_by_thread "t")
  end)
end)

describe("The live table", function()
  after_each(support.clean_up)

  it("RUN-37: does not pile up finished records", function()
    local manager = support.manager(support.open ":memory:")
    local weak = setmetatable({}, { __mode = "v" })
    for i = 1, 2000 do
      local run = assert(manager:create_or_reject("t" .. i % 10))
      assert(manager:set_status(run.run_id, "running"))
      assert(manager:update_run_completion(run.run_id, { status = i % 2 == 0 and "success" or "error" }))
      weak[i] = run
    end
    collect()
    assert.is_true(count(weak) <= 500, count(weak) .. " finished records are still in memory")
  end)

  it("RUN-37: lets go of runs that were interrupted or cancelled, too", function()
    local manager = support.manager(support.open ":memory:")
    local weak = setmetatable({}, { __mode = "v" })
    for i = 1, 2000 do
      local run = assert(manager:create_or_reject("t", { multitask_strategy = "interrupt" }))
      if i % 2 == 0 then assert(manager:cancel(run.run_id)) end
      weak[i] = run
    end
    collect()
    assert.is_true(count(weak) <= 500, count(weak) .. " finished records are still in memory")
  end)

  it("RUN-37: keeps every run in flight, and the very table", function()
    local manager = support.manager(support.open ":memory:")
    local runs = {}
    for i = 1, 600 do runs[i] = assert(manager:create("t" .. i)) end
    for i = 1, 1000 do assert(manager:set_status(assert(manager:create("u" .. i)).run_id, "success")) end
    collect()
    for _, run in ipairs(runs) do assert.is_true(rawequal(run, manager:get(run.run_id))) end
  end)

  it("RUN-37: a run that fell out is still answered, from the store", function()
    local manager = support.manager(support.open ":memory:")
    local first = assert(manager:create "t").run_id
    assert(manager:set_status(first, "success"))
    for i = 1, 1000 do assert(manager:set_status(assert(manager:create("u" .. i)).run_id, "success")) end
    collect()
    assert.equal("success", assert(manager:get(first)).status)
    assert.same({ false, "not_cancellable" }, { manager:cancel(first) })
  end)

  it("RUN-37: a manager that is dropped takes its records along", function()
    local store = support.open ":memory:"
    local weak = setmetatable({}, { __mode = "v" })
    do
      local manager = support.manager(store)
      for i = 1, 10 do weak[i] = assert(manager:create "t") end
    end
    collect()
    assert.equal(0, count(weak))
    assert.equal(10, #store:list_by_thread "t")
  end)
end)
