--- Waiting for the end of a run, wherever it runs.
local new_pair = require "support.pair"
local support = require "support"

--- Both ways a manager can wait: with a store that wakes it, and with one that has no wait_events.
local function without_events(store)
  return setmetatable({}, { __index = function(_, name)
    if name == "wait_events" or store[name] == nil then return nil end
    return function(_, ...) return store[name](store, ...) end
  end })
end

for way, dress in pairs { ["that wakes"] = function(store) return store end, ["that cannot wake"] = without_events } do
  describe("wait, with a store " .. way, function()
    local store, manager, slept, during
    after_each(support.clean_up)

    before_each(function()
      slept, during = 0, function() end
      store = support.open(":memory:", { sleep = function(seconds)
        slept = slept + seconds
        during()
      end })
      manager = support.manager(dress(store))
    end)

    it("gives a run that has ended at once, live or stored", function()
      local run = assert(manager:create "t")
      assert(manager:set_status(run.run_id, "success"))
      assert.equal(run, manager:wait(run.run_id))
      local stored = assert(support.manager(dress(store)):wait(run.run_id, { timeout = 0 }))
      assert.same({ "success", true, 0 }, { stored.status, stored.store_only, slept })
    end)

    it("gives the live record when this process ends the run meanwhile", function()
      local run = assert(manager:create "t")
      during = function() if run.status == "pending" then assert(manager:set_status(run.run_id, "success")) end end
      assert.equal(run, manager:wait(run.run_id, { timeout = 5 }))
      assert.equal("success", run.status)
      assert.is_true(slept < 1)
    end)

    it("brings the live record up to date when somebody else ends the run", function()
      local run = assert(manager:create "t")
      during = function() store:update_status(run.run_id, "error", { error = "elsewhere" }) end
      assert.equal(run, manager:wait(run.run_id, { timeout = 5 }))
      assert.same({ "error", "elsewhere" }, { run.status, run.error })
    end)

    it("times out on time", function()
      -- A store that wakes goes by the clock on the wall, the manager by what it slept if that is more.
      local run, before = assert(manager:create "t"), os.time()
      local err = support.refused("timeout", manager:wait(run.run_id, { timeout = 0.05 }))
      assert.equal(run.run_id, err.run_id)
      assert.is_true(slept > 0.04 and os.time() - before < 3)
      assert.equal("pending", run.status)
    end)

    it("with timeout 0 only looks", function()
      local run = assert(manager:create "t")
      support.refused("timeout", manager:wait(run.run_id, { timeout = 0 }))
      assert.equal(0, slept)
    end)

    it("yields under a host's sleep, so that another coroutine can finish the run", function()
      local hosted = support.open(":memory:", { sleep = function() coroutine.yield() end })
      local here = support.manager(dress(hosted))
      local run = assert(here:create "t")
      local result
      local waiter = coroutine.create(function() result = assert(here:wait(run.run_id, { timeout = 600 })) end)
      for _ = 1, 3 do
        assert(coroutine.resume(waiter))
        assert.equal("suspended", coroutine.status(waiter))
      end
      assert(here:set_status(run.run_id, "success"))
      for _ = 1, 3 do
        if coroutine.status(waiter) ~= "dead" then assert(coroutine.resume(waiter)) end
      end
      assert.equal(run, result)
    end)

    it("goes on when the run is given back, until it has ended", function()
      local run = assert(manager:create "t")
      assert(manager:try_start(run.run_id))
      local turns = 0
      during = function()
        turns = turns + 1
        if turns == 1 then assert(manager:requeue(run.run_id)) end
        if turns == 2 then assert(manager:claim_next()) end
        if turns == 3 then assert(manager:set_status(run.run_id, "success")) end
      end
      assert.equal("success", assert(manager:wait(run.run_id, { timeout = 60 })).status)
      assert.equal(3, turns)
    end)

    it("says when there is no such run, and when it is deleted meanwhile", function()
      support.refused("not_found", manager:wait(support.unknown_id()))
      local run = assert(support.manager(store):create "t")
      during = function() store:delete(run.run_id) end
      support.refused("not_found", manager:wait(run.run_id, { timeout = 5 }))
    end)
  end)
end

describe("wait", function()
  after_each(support.clean_up)

  it("gives another session's run when that has ended it", function()
    local pair = new_pair()
    local run = pair.started()
    assert(pair.theirs:update_run_completion(run.run_id, { status = "success", total_tokens = 4 }))
    local seen = assert(pair.ours:wait(run.run_id))
    assert.same({ "success", 4 }, { seen.status, seen.total_tokens })
  end)

  it("wakes when another process ends its run", function()
    local path = support.path()
    local child = support.spawn([[
      local manager = keel.run_manager { store = assert(keel.open((...), { durability = "off" })) }
      local run = assert(manager:create "t")
      say(run.run_id) hear()
      assert(manager:set_status(run.run_id, "success"))
    ]], { path })
    local manager = support.manager(support.open(path, { durability = "off" }))
    local run_id = child:hear()
    support.refused("timeout", manager:wait(run_id, { timeout = 0.02 }))
    child:say "go"
    assert.equal("success", assert(manager:wait(run_id, { timeout = 30 })).status)
  end)

  it("refuses what is no time, other types, and what nobody knows", function()
    local manager = support.manager(support.open ":memory:")
    local run = assert(manager:create "t")
    for _, timeout in ipairs { -1, 0 / 0, math.huge } do
      support.invalid("timeout", manager:wait(run.run_id, { timeout = timeout }))
    end
    support.raises("timeout", manager.wait, manager, run.run_id, { timeout = "soon" })
    support.raises("colour", manager.wait, manager, run.run_id, { colour = "red" })
    support.raises("wait", manager.wait, manager, 5)
  end)

  for _, method in ipairs { "get", "read_events", "wait_events" } do
    it("says when " .. method .. " fails", function()
      local store = support.open ":memory:"
      local run = assert(support.manager(store):create "t")
      local wrapped = support.wrap(store, { [method] = support.fail(math.huge, support.broken()) })
      support.refused("store_corrupt", support.manager(wrapped):wait(run.run_id, { timeout = 5 }))
    end)
  end
end)

describe("wait for what cannot end", function()
  after_each(support.clean_up)

  it("F-18: is refused in memory, where the wait would block the only process that could end the run", function()
    local manager = support.manager(support.open ":memory:")
    local run = assert(manager:create "t")
    local err = support.invalid("timeout", manager:wait(run.run_id))
    assert.equal(run.run_id, err.run_id)
    assert.matches("could never end", err.message)
    support.refused("timeout", manager:wait(run.run_id, { timeout = 0.01 }))
    assert(manager:set_status(run.run_id, "success"))
    assert.equal(run, manager:wait(run.run_id))
  end)

  it("F-18: says that a run is an orphan that nothing recovers, with a timeout and without", function()
    local pair = new_pair()
    local run = pair.started()
    pair.theirs_store:close()
    for _, options in ipairs { { timeout = 0 }, {} } do
      local err = support.refused("orphan", pair.ours:wait(run.run_id, options))
      assert.same({ run.run_id, "t" }, { err.run_id, err.thread_id })
    end
    assert.equal("running", assert(pair.ours_store:get(run.run_id)).status)
  end)

  it("F-18: gives others the time to recover an orphan", function()
    local path, looks = support.path(), 0
    local theirs = support.open(path, { durability = "off" })
    local run = assert(support.manager(theirs):create("t"))
    theirs:close()
    local other = support.manager(support.open(path, { durability = "off" }))
    local ours = support.manager(support.open(path, { durability = "off", sleep = function()
      looks = looks + 1
      if looks == 3 then assert(other:reconcile_orphaned_inflight_runs { reconciler = "fail_orphans" }) end
    end }))
    assert.equal("error", assert(ours:wait(run.run_id)).status)
  end)
end)
