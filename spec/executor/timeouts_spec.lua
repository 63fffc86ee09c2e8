--- `timeout`: how long an attempt may take.
local executors = require "support.executor"
local support = require "support"

support.each_store(function(open)
  describe("The timeout of an attempt", function()
    after_each(executors.clean_up)
    local store, runs, clock

    before_each(function()
      store = open()
      runs = support.manager(store)
    end)

    -- A manager on a clock that stands still.
    local function by_hand()
      clock = support.clock(1767225600)
      store = open { clock = clock.read }
      runs = support.manager(store)
    end

    local function claimable(options)
      options.claimable = true
      return assert(runs:create("t", options)).run_id
    end

    it("asks the handler to stop, and ends the run as `timeout`", function()
      local told
      local id = claimable { timeout = 0.05 }
      executors.started(runs, function(context)
        told = select(2, context.sleep(60))
        return true -- which comes too late
      end)
      executors.await_status(store, id, "timeout")
      local row = store:get(id)
      assert.same({ "cancelled", "timeout" }, { told.code, told.action })
      assert.same({ "timeout", "timeout", 1 }, { row.stop_reason, row.error_code, row.attempt })
      assert.truthy(row.error:find("longer than 0.05 s", 1, true), row.error)
      assert.is_nil(row.result)
    end)

    it("ends its processes", function()
      local child
      local id = claimable { timeout = 0.05 }
      executors.started(runs, function(context)
        child = assert(context.spawn "sleep 60")
        return { exit_code = child:wait().code }
      end)
      executors.await_status(store, id, "timeout")
      assert.is_number(child.signal)
      assert.equal(15, child.signal)
    end)

    it("is of each attempt: what has attempts left is tried again", function()
      local attempts = 0
      local id = claimable { timeout = 1, max_attempts = 3 }
      executors.started(runs, function(context)
        attempts = attempts + 1
        if attempts < 3 then return context.sleep(60) end
        return "done"
      end, { backoff = support.retry() })
      executors.await_status(store, id, "success")
      local row = store:get(id)
      assert.same({ 3, "done", 3 }, { attempts, row.result, row.attempt })
    end)

    it("leaves alone what ends in time", function()
      by_hand()
      local id = claimable { timeout = 30 }
      local executor = executors.new(runs, function(context)
        assert(context.sleep(29))
        return 7
      end)
      assert(executor:drain())
      clock.advance(29)
      assert(executor:drain())
      assert.same({ "success", 7 }, { store:get(id).status, store:get(id).result })
    end)

    it("holds on a clock that stands still", function()
      by_hand()
      local ids = { claimable { timeout = 30 }, claimable { timeout = 300 } }
      local executor = executors.new(runs, function(context) return context.sleep(100) end)
      assert(executor:drain())
      clock.advance(31)
      assert(executor:drain())
      assert.same({ "timeout", "running" }, { store:get(ids[1]).status, store:get(ids[2]).status })
      clock.advance(70)
      assert(executor:drain())
      assert.equal("success", store:get(ids[2]).status)
    end)

    it("holds for a handler that let nobody else work", function()
      local id = claimable { timeout = 0.02 }
      executors.started(runs, function()
        local until_then = os.clock() + 0.05
        while os.clock() < until_then do end
        return "late"
      end)
      executors.await_status(store, id, "timeout")
      assert.is_nil(store:get(id).result)
    end)

    it("is no end of one that was cancelled, or is to stop, before", function()
      by_hand()
      local id = claimable { timeout = 30 }
      local executor = executors.new(runs, function(context) return context.sleep(100) end)
      assert(executor:drain())
      assert.is_true(runs:cancel(id))
      clock.advance(31)
      assert(executor:drain())
      assert.equal("interrupted", store:get(id).status)
    end)

    it("is a number of seconds, more than 0", function()
      for _, timeout in ipairs { 0, -1, math.huge, 0 / 0 } do
        support.invalid("timeout", runs:create("t", { timeout = timeout }))
      end
      support.raises("timeout", runs.create, runs, "t", { timeout = "soon" })
      assert.same({}, store:list_runs())
      assert.equal(2.5, assert(runs:create("t", { timeout = 2.5 })).timeout)
      assert.equal(2.5, store:list_runs()[1].timeout)
    end)

    it("is shown to strategies", function()
      local seen
      assert(runs:create_or_reject("t", { timeout = 5, strategy = function(request)
        seen = request.timeout
        return { admit = true }
      end }))
      assert.equal(5, seen)
    end)

  end)
end)
