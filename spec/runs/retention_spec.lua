--- `retention`: a store that is kept in bounds by the ticks.
local keel = require "keel"
local support = require "support"

local START = 1767225600

support.each_store(function(open)
  describe("RESULT-4: retention", function()
    local store, clock

    before_each(function()
      clock = support.clock(START)
      store = open { clock = clock.read, durability = "off" }
    end)

    local function ended(count, thread, from)
      assert(store:transaction(function(tx)
        for i = 1, count do
          assert(tx:put(("%s-%d"):format(thread, (from or 0) + i), { thread_id = thread, status = "success" }))
        end
        return true
      end))
    end

    local function manager(retention, more)
      local options = { retention = retention }
      for name, value in pairs(more or {}) do options[name] = value end
      return support.manager(store, options)
    end

    local function tick_until(runs, done)
      for _ = 1, 1000 do
        assert(runs:tick())
        if done() then return end
      end
      error "the ticks did not get there"
    end

    it("takes what has ended longer ago than said, with its events, and leaves the rest", function()
      local runs = manager { before = 100 }
      ended(40, "old")
      local waiting = assert(runs:create "old")
      clock.advance(90)
      ended(3, "new")
      assert(runs:tick())
      assert.equal(44, store:stats().runs)
      clock.advance(11)
      tick_until(runs, function() return store:stats().runs == 4 end)
      assert.equal("pending", store:get(waiting.run_id).status)
      assert.equal(3, store:stats().events)
      assert.same({}, store:verify())
    end)

    it("keeps the newest of each thread", function()
      local runs = manager { before = 10, keep_last = 2 }
      ended(5, "a")
      ended(1, "b")
      clock.advance(11)
      tick_until(runs, function() return store:stats().runs == 3 end)
      assert.is_truthy(store:get "a-5" and store:get "a-4" and store:get "b-1")
      clock.advance(100)
      for _ = 1, 3 do assert(runs:tick()) end
      assert.equal(3, store:stats().runs)
    end)

    it("keeps a number only, whatever their age", function()
      local runs = manager { keep_last = 1 }
      ended(3, "a")
      clock.advance(1)
      tick_until(runs, function() return store:stats().runs == 1 end)
    end)

    it("keeps a store in bounds that is written to all the time", function()
      local runs, most = manager { before = 60 }, 0
      for round = 1, 40 do
        ended(50, "t", round * 50)
        clock.advance(30)
        assert(runs:tick())
        most = math.max(most, store:stats().runs)
      end
      assert.is_true(most <= 50 * 5, most .. " runs")
    end)

    it("goes in steps that hold the lock for at most 20 ms, but for a machine that does other things", function()
      local took, steps = {}, 0
      local front = support.wrap(store, { prune_step = function(forward, ...)
        local began = os.clock() -- of this process: what it had to wait for the machine does not count
        local step = assert(forward(...))
        took[#took + 1] = os.clock() - began
        steps = steps + 1
        return step
      end })
      local runs = support.manager(front, { retention = { before = 10 } })
      for i = 1, 3 do ended(1000, "t", i * 1000) end
      clock.advance(11)
      tick_until(runs, function() return store:stats().runs == 0 end)
      table.sort(took)
      assert.is_true(steps > 5, steps)
      assert.is_true(took[math.ceil(#took * 0.9)] < 0.02, ("9 of 10 steps took up to %g s"):format(took[#took]))
    end)

    it("says what the store fails with, and goes on", function()
      local front = support.wrap(store, { prune_step = support.fail(1, support.broken()) })
      local runs = support.manager(front, { retention = { before = 10 }, log = function() end })
      ended(3, "a")
      clock.advance(11)
      local report, err = runs:tick()
      assert.is_table(report)
      assert.equal("store_corrupt", err.code)
      tick_until(runs, function() return store:stats().runs == 0 end)
    end)

    it("is refused when it says nothing, or nonsense", function()
      for _, wrong in ipairs { {}, { before = -1 }, { before = 0 / 0 }, { keep_last = -1 }, { before = 1e13 } } do
        support.invalid("retention", keel.run_manager { store = store, retention = wrong })
      end
      support.raises("did you mean 'before'", keel.run_manager, { store = store, retention = { befor = 1 } })
      support.raises("retention", keel.run_manager, { store = store, retention = 5 })
    end)
  end)
end)
