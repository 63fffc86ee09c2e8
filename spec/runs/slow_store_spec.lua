--- A store that is slow for one must not be slow for all: its waits go through the host's sleep, which may yield.
local keel = require "keel"
local support = require "support"

--- Runs functions as coroutines in turns until all have ended; what a sleep yields is a turn. Gives the order of ends.
local function run_all(functions)
  local works, ended = {}, {}
  for i, fn in ipairs(functions) do works[i] = coroutine.create(fn) end
  local turns = 0
  while #ended < #works do
    turns = turns + 1
    assert(turns < 10000, "they wait for ever")
    for i, work in ipairs(works) do
      if coroutine.status(work) == "suspended" then
        assert(coroutine.resume(work))
        if coroutine.status(work) == "dead" then ended[#ended + 1] = i end
      end
    end
  end
  return ended
end

local function sleep() coroutine.yield() end

support.each_store(function(open)
  describe("In a host with coroutines", function()
    local slow = { begin = true, put = true, update_status = true, update_run_completion = true, get = true,
      list_by_thread = true }

    --- A store whose operations take some turns while `thread` is at work, and none for others.
    local function slow_store(store, is_slow)
      local overrides = {}
      for method in pairs(slow) do
        overrides[method] = function(forward, ...)
          if is_slow() then for _ = 1, 50 do coroutine.yield() end end
          return forward(...)
        end
      end
      return (support.wrap(store, overrides))
    end

    local function lifecycle(manager, thread_id)
      local run = assert(manager:create_or_reject(thread_id))
      assert(manager:try_start(run.run_id))
      assert(manager:update_run_completion(run.run_id, { status = "success" }))
      assert(manager:list_by_thread(thread_id))
      return run
    end

    it("RUN-38: a store that is slow for one thread's operation does not hold up another's", function()
      local store = open { durability = "off" }
      local first
      local manager = support.manager(slow_store(store, function() return coroutine.running() == first end))
      local ended = run_all {
        function()
          first = coroutine.running()
          lifecycle(manager, "slow")
        end,
        function() for _ = 1, 10 do lifecycle(manager, "quick") end end,
      }
      assert.same({ 2, 1 }, ended)
      assert.equal(11 * 3, #support.events(store))
    end)

    it("RUN-38: what waits to try again waits through the store's sleep, and others go on meanwhile", function()
      local store = open { durability = "off" }
      local first, slept = nil, 0
      local wrapped = support.wrap(store, {
        begin = function(forward, ...)
          if coroutine.running() == first and slept < 3 then return nil, support.busy() end
          return forward(...)
        end,
        sleep = function()
          slept = slept + 1
          coroutine.yield()
        end,
      })
      local manager = assert(keel.run_manager { store = wrapped, log = support.log() })
      local ended = run_all {
        function()
          first = coroutine.running()
          lifecycle(manager, "slow")
        end,
        function() lifecycle(manager, "quick") end,
      }
      assert.same({ 2, 1 }, ended)
      assert.equal(3, slept)
    end)

    it("RUN-38: two that are slow on one thread are admitted one after the other", function()
      local store = open { durability = "off" }
      local manager = support.manager(slow_store(store, function() return true end))
      local outcomes = {}
      local function create()
        local run, err = manager:create_or_reject "t"
        outcomes[#outcomes + 1] = run and "created" or err.code
      end
      run_all { create, create }
      assert.same({ "created", "conflict" }, outcomes)
    end)
  end)
end)

describe("[#sqlite] In a host with coroutines", function()
  after_each(support.clean_up)

  it("RUN-38: who waits for another writer's lock lets others work, on this store and on others", function()
    local path = support.path()
    local blocker = support.open(path, { durability = "off" })
    local waiting = support.manager(support.open(path, { sleep = sleep, durability = "off" }))
    local elsewhere = support.manager(support.open(support.path(), { durability = "off" }))
    local tx = assert(blocker:begin())
    local run
    local ended = run_all {
      function() run = assert(waiting:create "t") end,
      function()
        assert(elsewhere:create_or_reject "t")
        assert.same({}, waiting:list_by_thread "t") -- reading does not wait
        assert.is_nil(run)
        assert(tx:commit())
      end,
    }
    assert.same({ 2, 1 }, ended)
    assert.equal("pending", run.status)
  end)
end)
