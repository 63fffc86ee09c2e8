--- Time under control: attempts, deadlines and sleep by a manual clock, without a real wait.
local keel = require "keel"
local executors = require "support.executor"
local kernel = require "keel.kernel"
local support = require "support"
local uv = require "luv"

support.each_store(function(open)
  describe("drain", function()
    local clock, store, runs

    before_each(function()
      clock = support.clock()
      store = open { clock = clock.read, monotonic = clock.read }
      runs = support.manager(store)
    end)
    after_each(executors.clean_up)

    local function claimable(options)
      local given = { claimable = true }
      for name, value in pairs(options or {}) do given[name] = value end
      return assert(runs:create("t", given)).run_id
    end

    local function status(id) return store:get(id).status end

    it("runs what is due, and what that makes due", function()
      local executor = executors.new(runs, function(context)
        local n = context.run.kwargs.n
        if n < 3 then assert(context.manager:create("t", { claimable = true, kwargs = { n = n + 1 } })) end
      end)
      assert.equal(0, executor:drain())
      claimable { kwargs = { n = 1 } }
      assert.equal(3, executor:drain())
      assert.equal(0, executor:drain())
      assert.same({ running = 0, started = 3, ended = 3 }, executor:stats())
    end)

    it("tries again with growing delays up to max_attempts, then the error stays", function()
      local attempts = {}
      local executor = executors.new(runs, function(context)
        attempts[#attempts + 1] = { context.run.attempt, clock.read() }
        error "not yet"
      end, { backoff = keel.retry_policy { initial_delay = 10, backoff_factor = 3, max_delay = 25 } })
      local id, start = claimable { max_attempts = 4 }, clock.read()
      for _, step in ipairs { 0, 9, 1, 24, 1, 24, 1, 100 } do
        clock.advance(step)
        assert(executor:drain())
      end
      assert.same({ { 1, start }, { 2, start + 10 }, { 3, start + 35 }, { 4, start + 60 } }, attempts)
      local row = store:get(id)
      assert.same({ "error", 4 }, { row.status, row.attempt })
      assert.truthy(row.error:find "not yet\nstack traceback")
      assert.equal(3, #support.events(store, { kinds = { "run_requeued" } }))
    end)

    it("keeps the success of a later attempt, and tries once without max_attempts", function()
      local executor = executors.new(runs, function(context)
        if context.run.attempt < 2 then return nil, "not yet" end
      end)
      local id, once = claimable { max_attempts = 3 }, claimable()
      assert.equal(2, executor:drain())
      clock.advance(1)
      assert.equal(1, executor:drain())
      assert.same({ "success", "error", "not yet" }, { status(id), status(once), store:get(once).error })
    end)

    it("does not try again what the handler has ended itself", function()
      local executor = executors.new(runs, function() return { status = "error", error = "for good" } end)
      local id = claimable { max_attempts = 3 }
      assert.equal(1, executor:drain())
      assert.same({ "error", 1 }, { status(id), store:get(id).attempt })
    end)

    it("F-14: leaves a run whose handler is not here to others: it is not claimed, and no attempt is spent", function()
      local id = claimable { max_attempts = 10, kwargs = { handler = "report" } }
      local old = executors.new(runs, { mail = function() end })
      assert.equal(0, old:drain())
      assert.same({ "pending", 1, 1 }, { status(id), store:get(id).attempt, store:get(id).fence })
      local new = executors.new(support.manager(store), { report = function() return true end })
      assert.equal(1, new:drain())
      assert.same({ "success", 1 }, { status(id), store:get(id).attempt })
    end)

    it("F-14: gives back untouched what turns out not to be its own, and leaves it alone for a while", function()
      local id = claimable { max_attempts = 1, kwargs = { handler = "report" } }
      local asked = 0
      local lazy = setmetatable({}, { __index = function() asked = asked + 1 end })
      local old = executors.new(runs, lazy)
      old:drain()
      local row = store:get(id)
      assert.same({ "pending", true, 1, 1, 1 }, { row.status, row.claimable, row.attempt, row.snoozes, asked })
      clock.advance(4.9)
      old:drain()
      assert.equal(1, asked)
      clock.advance(0.1)
      old:drain()
      assert.equal(2, asked)
      clock.advance(5)
      assert.equal(1, executors.new(support.manager(store), { report = function() end }):drain())
      assert.same({ "success", 1, 2 }, { status(id), store:get(id).attempt, store:get(id).snoozes })
    end)

    it("F-14: gives back its own runs too, and serves more handlers than it can ask for by name", function()
      local own = assert(runs:create("own", { kwargs = { handler = "report" } })).run_id
      local handlers = {}
      for i = 1, 65 do handlers["h" .. i] = function() return true end end
      local other, known = claimable { kwargs = { handler = "report" } },
        assert(runs:create("u", { claimable = true, handler = "h65" })).run_id
      executors.new(runs, handlers):drain()
      assert.same({ "pending", true, 1 }, { status(own), store:get(own).claimable, store:get(own).attempt })
      assert.same({ "pending", 1, "success" }, { status(other), store:get(other).attempt, status(known) })
    end)

    it("F-15: puts a run off as often as it likes: no attempt is spent, and what is returned then ignored", function()
      local looks = 0
      local executor = executors.new(runs, function(context)
        looks = looks + 1
        if looks == 4 then return { exit_code = 0 } end
        context.snooze(30)
        if looks == 2 then return nil, "ignored" end
        return looks == 3 and { status = "error" } or nil
      end)
      local id = claimable { max_attempts = 1 }
      for look = 1, 3 do
        executor:drain()
        local row = store:get(id)
        assert.same({ "pending", 1, look, look }, { row.status, row.attempt, row.snoozes, looks })
        clock.advance(29)
        executor:drain()
        assert.equal(look, looks)
        clock.advance(1)
      end
      executor:drain()
      assert.same({ "success", 1, 3, 0 },
        { status(id), store:get(id).attempt, store:get(id).snoozes, store:get(id).exit_code })
    end)

    it("F-15: what raises after it was put off has failed, and what was cancelled is over", function()
      local failed = claimable()
      local executor = executors.new(runs, function(context)
        context.snooze(1)
        if context.run.run_id == failed then error "broken" end
        assert(context.manager:cancel(context.run.run_id))
      end)
      local cancelled = assert(runs:create("u", { claimable = true })).run_id
      executor:drain()
      assert.same({ "error", "interrupted" }, { status(failed), status(cancelled) })
      assert.same({ 0, false }, { store:get(cancelled).snoozes, store:get(cancelled).finalizing or false })
    end)

    it("F-15: tells a handler what it did wrong", function()
      local problems = 0
      local executor = executors.new(runs, function(context)
        for _, bad in ipairs { -1, 0 / 0, math.huge, "soon" } do
          support.raises("snooze", context.snooze, bad)
          problems = problems + 1
        end
        support.raises("snooze", coroutine.wrap(function() context.snooze(1) end))
      end)
      local id = claimable()
      executor:drain()
      assert.same({ "success", 4 }, { status(id), problems })
    end)

    it("RESULT-3: keeps how far a handler says it is among the counters, without an event", function()
      local events
      local executor = executors.new(runs, function(context)
        local before = #support.events(store)
        assert(context.progress { done = 3, total = 7, message = "files", total_tokens = 5 })
        events = #support.events(store) - before
      end)
      local id = claimable()
      executor:drain()
      assert.equal(0, events)
      assert.same({ { done = 3, total = 7, message = "files" }, 5 },
        { store:get(id).progress, store:get(id).total_tokens })
    end)

    it("lets handlers sleep until the clock has moved", function()
      local woke
      local executor = executors.new(runs, function(context)
        assert(context.sleep(3600))
        woke = clock.read()
      end)
      local id, start = claimable(), clock.read()
      assert.same({ 0, "running" }, { executor:drain(), status(id) })
      clock.advance(3599)
      assert.equal(0, executor:drain())
      clock.advance(1)
      assert.same({ 1, "success", start + 3600 }, { executor:drain(), status(id), woke })
    end)

    it("RUN-39: ends what is past its deadline, whether it runs or waits", function()
      local told
      local executor = executors.new(runs, function(context) told = select(2, context.sleep(3600)) end)
      local deadline = kernel.time_text(clock.read() + 60)
      local running = claimable { deadline = deadline }
      local waiting = assert(runs:create("u", { deadline = deadline, scheduled_at = deadline })).run_id
      executor:drain()
      clock.advance(59)
      executor:drain()
      assert.same({ "running", "pending" }, { status(running), status(waiting) })
      clock.advance(1)
      executor:drain()
      assert.same({ "timeout", "timeout", "cancelled" }, { status(running), status(waiting), told.code })
    end)

    it("hears what others asked to stop", function()
      local executor = executors.new(runs, function(context) return context.sleep(3600) end)
      local id = claimable { max_attempts = 3 }
      executor:drain()
      assert.equal("rollback", store:request_cancel(id, { action = "rollback" }))
      assert.equal(1, executor:drain())
      local row = store:get(id)
      assert.same({ "interrupted", "cancelled", "rollback", 1 },
        { row.status, row.stop_reason, row.cancel_action, row.attempt })
    end)

    it("RUN-39: ends as timed out what is late when its handler ends, without the handler's code", function()
      local id = claimable { deadline = kernel.time_text(clock.read() + 60) }
      executors.new(runs, function()
        clock.advance(60)
        return { status = "error", error = "no", error_code = "E3" }
      end):drain()
      local row = store:get(id)
      assert.same({ "timeout", "deadline", "the deadline of the run has passed" },
        { row.status, row.stop_reason, row.error })
      assert.is_nil(row.error_code)
    end)

    it("keeps the success of a handler that finishes although it was asked to stop", function()
      local executor = executors.new(runs, function(context) context.sleep(3600) end)
      local id = claimable()
      executor:drain()
      store:request_cancel(id)
      executor:drain()
      assert.equal("success", status(id))
    end)

    it("waits for processes", function()
      local executor = executors.new(runs, function(context)
        local result = assert(context.spawn "sleep 0.05; echo done"):wait()
        return { exit_code = result.code, last_ai_message = result.output }
      end)
      local id = claimable()
      assert.equal(1, executor:drain())
      assert.same({ 0, "done\n" }, { store:get(id).exit_code, store:get(id).last_ai_message })
    end)

    it("ends after as many runs as it is told", function()
      local executor = executors.new(runs, function(context)
        assert(context.manager:create("t", { claimable = true }))
      end)
      claimable()
      local err = support.refused("limit_too_large", executor:drain { limit = 20 })
      assert.same({ "limit", 21, 20 }, { err.field, err.requested, err.max })
    end)

    it("tells of a handler that nobody can go on with", function()
      local executor = executors.new(runs, function() coroutine.yield() end)
      claimable()
      support.raises("yield by itself", executor.drain, executor)
      local report = assert(executor:stop { timeout = 0 })
      assert.equal(1, #report.running)
    end)

    it("waits for a handler that a callback of the loop goes on with", function()
      local executor = executors.new(runs, function()
        local thread, timer = coroutine.running(), uv.new_timer()
        timer:start(20, 0, function()
          timer:close()
          coroutine.resume(thread)
        end)
        coroutine.yield()
      end)
      local id = claimable()
      assert.equal(1, executor:drain())
      assert.equal("success", status(id))
    end)

    it("is for executors that were not started", function()
      local executor = executors.started(runs, function() end)
      support.raises("started", executor.drain, executor)
      executor:stop()
      support.raises("stopped", executor.drain, executor)
    end)

    it("leaves sleepers that a start takes over, and a stop wakes", function()
      local told = {}
      local executor = executors.new(runs, function(context) told[#told + 1] = { context.sleep(0.05) } end)
      local id = claimable()
      executor:drain()
      assert.same({}, told)
      executor:start()
      executors.await_status(store, id, "success")
      assert.same({ { true } }, told)
      executors.clean_up()
      executor = executors.new(runs, function(context) told[#told + 1] = select(2, context.sleep(3600)) end)
      id = claimable()
      executor:drain()
      executor:stop()
      assert.same({ "cancelled", "shutdown", "pending" }, { told[2].code, told[2].action, status(id) })
    end)
  end)
end)
