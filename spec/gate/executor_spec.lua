--- Executors that wait for places: nobody ticks in these specs, so what starts was told of.
local executors = require "support.executor"
local support = require "support"

describe("[#sqlite] An executor whose runs wait for places", function()
  local path, theirs, ours, ended, hold

  before_each(function()
    path = support.path()
    theirs, ours = support.open(path, { durability = "off" }), support.open(path, { durability = "off" })
    ended, hold = {}, true
  end)
  after_each(executors.clean_up)
  after_each(support.clean_up)

  -- Handlers that go on for as long as `hold` is true.
  local function started(store)
    local manager = support.manager(store)
    executors.started(manager, function(context)
      while hold do context.sleep(0.001) end
      ended[#ended + 1] = context.run.run_id
    end, { interval = 3600, concurrency = 2 })
    return manager
  end

  local GPU = { { name = "gpu", max = 1 } }

  for how, claimable in pairs { ["of their own"] = false, ["that anybody may claim"] = true } do
    it("GATE-4: starts the next when a run of another one has left its place, on any thread; runs " .. how, function()
      local first = started(theirs)
      local holder = assert(first:create("a", { slots = GPU, claimable = claimable or nil })).run_id
      executors.await_status(ours, holder, "running")
      local second = started(ours)
      local waiting = assert(second:create("b", { slots = GPU, claimable = claimable or nil })).run_id
      executors.await(function() return ours:gate(waiting).gate == "slot" end)
      hold = false
      executors.await_status(ours, { holder, waiting }, "success")
      assert.same({ holder, waiting }, ended)
    end)

    it("GATE-8: starts the next when its rate has room again; runs " .. how, function()
      hold = false
      local manager, ids = started(ours), {}
      for i = 1, 3 do
        ids[i] = assert(manager:create("t" .. i, { rates = { { name = "mail", max = 1, per = 0.1 } },
          claimable = claimable or nil })).run_id
      end
      executors.await_status(theirs, ids, "success")
    end)

    it("GATE-7: starts what waits when a pause is over; runs " .. how, function()
      hold = false
      local other = support.manager(theirs)
      assert(other:pause "*")
      local manager = started(ours)
      local run = assert(manager:create("t", { claimable = claimable or nil })).run_id
      executors.await(function() return ours:gate(run).gate == "paused" end)
      assert(other:resume "*")
      executors.await_status(theirs, run, "success")
    end)
  end
end)
