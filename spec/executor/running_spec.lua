--- An executor on a real loop: what it takes, what handlers are given, and how runs end.
local keel = require "keel"
local kernel = require "keel.kernel"
local executors = require "support.executor"
local support = require "support"
local uv = require "luv"

support.each_store(function(open)
  describe("An executor", function()
    local store, runs, calls
    local deaf = false -- nobody wakes its executor when there is something new in the store
    local waiter       -- what would, in place of the store's

    before_each(function()
      local wrapped
      wrapped, calls = support.wrap(open(), { event_waiter = function(forward, ...)
        if deaf or waiter then return waiter end
        return forward(...)
      end })
      store = wrapped
      runs = support.manager(store)
    end)
    after_each(executors.clean_up)
    after_each(function() deaf, waiter = false, nil end)

    local function claimable(thread_id, options)
      local given = { claimable = true }
      for name, value in pairs(options or {}) do given[name] = value end
      return assert(runs:create(thread_id, given)).run_id
    end

    local function in_seconds(seconds) return kernel.time_text(kernel.time_seconds(store:now()) + seconds) end

    -- Runs `handlers` until the run has ended; gives its row.
    local function row_after(handlers, options, status)
      local id = claimable("t", options)
      executors.started(runs, handlers)
      executors.await_status(store, id, status)
      return store:get(id)
    end

    -- --- Taking ------------------------------------------------------------------------------------------------------

    it("claims what is claimable, and starts what its process owns, before and after it was started", function()
      local ids, seen = { claimable "a", runs:create("b").run_id }, {}
      executors.started(runs, function(context) seen[context.run.run_id] = context.run.status end)
      executors.await_status(store, ids, "success")
      ids[3], ids[4] = claimable "c", runs:create("d").run_id
      executors.await_status(store, ids, "success")
      for _, id in ipairs(ids) do assert.equal("running", seen[id]) end
      assert.equal(4, #support.events(store, { kinds = { "run_started" } }))
    end)

    it("needs no look at the log for what its own process makes, gives back and ends", function()
      local ended = {}
      deaf = true
      executors.started(runs, function(context)
        ended[#ended + 1] = context.run.thread_id
        if context.run.thread_id == "first" then claimable("second", { max_attempts = 2 }) end
        if context.run.thread_id == "second" and context.run.attempt == 1 then error "once" end
      end, { interval = 60, poll = 60, backoff = keel.retry_policy { initial_delay = 0 } })
      executors.await(function() return calls.event_waiter > 0 and store:session_id() end, "the session")
      local first = assert(runs:create "first")
      executors.await_status(store, first.run_id, "success")
      executors.await(function() return #ended == 3 end, "the second attempt")
      assert.same({ "first", "second", "second" }, ended)
    end)

    it("looks by itself where nobody wakes it", function()
      deaf = true
      executors.started(runs, function() end, { interval = 60 })
      executors.await(function() return calls.read_events > 0 end, "the first look")
      local id = assert(support.manager(store):create("t", { claimable = true })).run_id
      executors.await_status(store, id, "success")
    end)

    it("starts what is put off when its time has come, though it has no other reason to look", function()
      executors.started(runs, function() end, { interval = 60, poll = 60 })
      executors.await(function() return calls.event_waiter > 0 end, "the watch")
      local late = assert(runs:create("late", { scheduled_at = in_seconds(0.3) })).run_id
      local soon = assert(runs:create("soon", { scheduled_at = in_seconds(0.1) })).run_id
      executors.await_status(store, { late, soon }, "success")
    end)

    it("reads nothing where a waiter says that there is nothing new", function()
      executors.started(runs, function() end, { interval = 60 })
      executors.await(function() return calls.event_waiter > 0 and calls.wait_events > 0 end, "the watch")
      executors.await_status(store, claimable "t", "success")
      local looked, read = kernel.monotonic(), nil
      executors.await(function()
        if kernel.monotonic() - looked > 0.2 then read = read or calls.read_events end
        return kernel.monotonic() - looked > 0.8
      end)
      assert.equal(read, calls.read_events)
    end)

    it("looks now and then though no wake-up comes, and on its own with a waiter that fails", function()
      for _, works in ipairs { true, false } do
        local ends, closed = uv.pipe(), 0
        waiter = {
          descriptor = function() return ends.read end,
          look = function() return works or error "of no use" end,
          close = function() closed = closed + 1 end,
        }
        local executor = executors.started(runs, function() end, { interval = 60 })
        executors.await(function() return calls.read_events > 0 end, "a look")
        local id = assert(support.manager(store):create("t", { claimable = true })).run_id
        executors.await_status(store, id, "success")
        assert.equal(works and 0 or 1, closed)
        executor:stop()
        assert.equal(1, closed)
        for _, one in pairs(ends) do uv.fs_close(one) end
        calls.read_events = 0
      end
    end)

    it("gathers news that come one after the other: each is no look of its own", function()
      executors.started(runs, function() end, { interval = 60 })
      executors.await(function() return calls.event_waiter > 0 and calls.wait_events > 0 end, "the watch")
      local from, before = kernel.monotonic(), calls.read_events
      local news = uv.new_idle()
      news:start(function() assert(store:append_event { kind = "news" }) end)
      executors.await(function() return kernel.monotonic() - from > 0.5 end)
      news:close()
      local looks, most = calls.read_events - before, (kernel.monotonic() - from) / 0.01 + 2
      assert.is_true(looks > 0 and looks <= most, ("%s looks, at most %s"):format(looks, most))
    end)

    it("runs as many at once as it may, and no more", function()
      local now, most = 0, 0
      local ids = {}
      for i = 1, 12 do ids[i] = i % 2 == 0 and claimable("t" .. i) or runs:create("t" .. i).run_id end
      executors.started(runs, function(context)
        now = now + 1
        most = math.max(most, now)
        assert(context.sleep(0.01))
        now = now - 1
      end, { concurrency = 3 })
      executors.await_status(store, ids, "success")
      assert.equal(3, most)
    end)

    it("keeps the order of a thread's queue, and the best first", function()
      local order, ids = {}, {}
      for i = 1, 5 do
        ids[i] = assert(runs:create_or_reject("t", { multitask_strategy = "enqueue",
          priority = i == 4 and 1 or 0 })).run_id
      end
      executors.started(runs, function(context) order[#order + 1] = context.run.run_id end)
      executors.await_status(store, ids, "success")
      assert.same({ ids[4], ids[1], ids[2], ids[3], ids[5] }, order)
    end)

    it("starts a run when its delay is over", function()
      local run = assert(runs:create("t", { scheduled_at = in_seconds(0.2) }))
      executors.started(runs, function() end, { interval = 60 })
      executors.await_status(store, run.run_id, "success")
      local row = store:get(run.run_id)
      assert.is_true(row.started_at >= row.scheduled_at)
    end)

    it("starts a run when its delay is over, though another waits longer", function()
      local soon = assert(runs:create("soon", { scheduled_at = in_seconds(0.2) })).run_id
      assert(runs:create("late", { scheduled_at = in_seconds(3600) }))
      executors.started(runs, function() end, { interval = 60 })
      executors.await_status(store, soon, "success")
    end)

    it("claims only from its threads", function()
      local mine, other = claimable "mine", claimable "other"
      executors.started(runs, function() end, { threads = { "mine" } })
      executors.await_status(store, mine, "success")
      assert.equal("pending", store:get(other).status)
    end)

    it("shares commits: ten runs that start and end together take few", function()
      assert(store:session_id())
      local ids = {}
      for i = 1, 10 do ids[i] = claimable("t" .. i) end
      local before = calls["tx.commit"]
      executors.started(runs, function(context) assert(context.sleep(0.02)) end, { interval = 60 })
      executors.await_status(store, ids, "success")
      local commits = calls["tx.commit"] - before
      assert.is_true(commits <= 12, "commits: " .. commits)
    end)

    -- --- What a handler is given -------------------------------------------------------------------------------------

    it("gives the handler its run, counters, events and sleep", function()
      local context_seen
      local id = claimable("t", { kwargs = { question = "why" }, metadata = { a = 1 } })
      executors.started(runs, function(context)
        context_seen = context
        assert.equal("why", context.run.kwargs.question)
        assert.is_false(context.cancelled())
        assert.is_true(context.progress { total_tokens = 7 })
        assert.is_number(assert(context.event { kind = "step", message = "one", data = { n = 1 } }))
        assert.is_true(context.sleep(0.01))
        assert.equal(runs, context.manager)
        assert.equal(coroutine.running(), context.run.task)
      end)
      executors.await_status(store, id, "success")
      assert.equal(7, store:get(id).total_tokens)
      assert.same({ id, "t", "one" }, (function(event) return { event.run_id, event.thread_id, event.message } end)(
        support.events(store, { kinds = { "step" } })[1]))
      assert.is_nil(context_seen.run.task)
    end)

    it("tells a handler what it did wrong", function()
      row_after(function(context)
        support.raises("'sleep' (number expected", context.sleep, "1")
        support.raises("'sleep' (it is not a number", context.sleep, 0 / 0)
        support.raises("option 'kind' is missing", context.event, {})
        support.raises("unknown option 'run_id'", context.event, { kind = "step", run_id = "r" })
      end, nil, "success")
    end)

    it("lets a handler wait for the runs it makes", function()
      local row = row_after({
        default = function(context)
          local child = assert(context.manager:create("child", { claimable = true, kwargs = { handler = "child" } }))
          local ended = assert(context.manager:wait(child.run_id, { timeout = 5 }))
          return { last_ai_message = ended.status }
        end,
        child = function(context) assert(context.sleep(0.02)) end,
      }, nil, "success")
      assert.equal("success", row.last_ai_message)
    end)

    it("leaves coroutines of a handler alone: generators work, and write by themselves", function()
      local row = row_after(function(context)
        local count = 0
        for fields in coroutine.wrap(function()
          for i = 1, 3 do
            assert(context.progress { total_tokens = i })
            coroutine.yield { total_tokens = i }
          end
        end) do
          count = count + fields.total_tokens
        end
        local ok, err = pcall(coroutine.wrap(function() context.sleep(0) end))
        assert(not ok and err:find "coroutine of the handler", err)
        return { message_count = count }
      end, nil, "success")
      assert.same({ 3, 6 }, { row.total_tokens, row.message_count })
    end)

    -- --- How runs end ------------------------------------------------------------------------------------------------

    it("ends a run as the handler says", function()
      local row = row_after(function() return { status = "error", error = "no", exit_code = 3, total_tokens = 5 } end,
        { max_attempts = 5 }, "error")
      assert.same({ "no", 3, 5, 1 }, { row.error, row.exit_code, row.total_tokens, row.attempt })
    end)

    it("makes the error of a handler that of its run, with the traceback", function()
      local function deep() error "it broke" end
      local row = row_after(function()
        deep()
        return true
      end, nil, "error")
      assert.truthy(row.error:find("running_spec.lua:%d+: it broke\nstack traceback:"))
      assert.truthy(row.error:find "upvalue 'deep'")
      assert.is_nil(row.error:find "task.lua")
    end)

    it("keeps the code of an error, raised or returned", function()
      local row = row_after(function(context)
        error((select(2, context.manager:create("", { claimable = true }))))
      end, nil, "error")
      assert.equal("invalid_request", row.error_code)
      assert.truthy(row.error:find "thread_id")
      executors.clean_up()
      local bare = { code = "teapot", message = "short and stout" }
      row = row_after(function() return nil, bare end, nil, "error")
      assert.same({ "teapot", "teapot: short and stout" }, { row.error_code, row.error })
      executors.clean_up()
      row = row_after(function() error { message = "short" } end, nil, "error")
      assert.equal("short\nstack traceback:", row.error:match "^[^\n]*\n[^\n]*")
    end)

    it("ends a run whatever its handler raises or returns", function()
      local bad = {
        nothing = function() error() end,
        bytes = function() error "\xff\xfe" end,
        object = function() error(setmetatable({}, { __tostring = function() error "no" end })) end,
        long = function() error(("x"):rep(200000)) end,
        status = function() return { status = "running" } end,
        failed = function() return false, "it failed" end,
      }
      local ids = {}
      for name in pairs(bad) do ids[#ids + 1] = claimable(name, { kwargs = { handler = name } }) end
      executors.started(runs, bad)
      executors.await_status(store, ids, "error")
      for _, id in ipairs(ids) do
        local row = store:get(id)
        assert.is_true(#row.error > 0 and #row.error < 100000, row.thread_id)
        assert.is_not_nil(utf8.len(row.error))
      end
    end)

    it("chooses the handler by handler, then by kwargs.handler", function()
      local seen = {}
      local handlers = {
        one = function() seen[#seen + 1] = "one" end,
        default = function() seen[#seen + 1] = "default" end,
      }
      local good = { claimable("a", { kwargs = { handler = "one" } }), claimable "b",
        claimable("e", { handler = "one", kwargs = { handler = "two" } }) }
      executors.started(runs, handlers)
      executors.await_status(store, good, "success")
      table.sort(seen)
      assert.same({ "default", "one", "one" }, seen)
    end)

    it("writes the end when the store fails for a while", function()
      local failures = 0
      local failing = support.wrap(store, { tx = { update_run_completion = function(forward, ...)
        failures = failures + 1
        if failures <= 7 then return nil, support.busy() end
        return forward(...)
      end } })
      runs = support.manager(failing)
      local row = row_after(function() return { exit_code = 0 } end, nil, "success")
      assert.same({ 8, 0 }, { failures, row.exit_code })
    end)

    -- --- Stopping a run ----------------------------------------------------------------------------------------------

    it("wakes a handler whose run is cancelled, and settles it", function()
      local told
      local run = assert(runs:create "t")
      executors.started(runs, function(context)
        told = select(2, context.sleep(60))
        assert(context.cancelled())
        assert(context.sleep(1)) -- raises: it is to stop
      end)
      executors.await(function() return run.task end, "the start")
      assert.is_true(runs:cancel(run.run_id))
      assert.is_true(store:get(run.run_id).finalizing)
      executors.await(function() return not run.finalizing end, "settling")
      assert.same({ "cancelled", run.run_id, "interrupt" }, { told.code, told.run_id, told.action })
      assert.same({ "interrupted", nil }, { store:get(run.run_id).status, run.task })
    end)

    it("lets the handler of a rollback say that it was rolled back", function()
      local run = assert(runs:create "t")
      executors.started(runs, function(context)
        local _, err = context.sleep(60)
        return { status = "error", error = "rolled back: " .. err.action }
      end)
      executors.await(function() return run.task end, "the start")
      assert(runs:cancel(run.run_id, { action = "rollback" }))
      executors.await_status(store, run.run_id, "error")
      assert.equal("rolled back: rollback", store:get(run.run_id).error)
    end)

    it("starts the run that interrupts another when that has come to rest", function()
      local order = {}
      executors.started(runs, function(context)
        order[#order + 1] = "start " .. context.run.kwargs.name
        context.sleep(context.run.kwargs.name == "old" and 60 or 0)
        order[#order + 1] = "end " .. context.run.kwargs.name
      end)
      local old = assert(runs:create_or_reject("t", { kwargs = { name = "old" } }))
      executors.await(function() return old.task end, "the start")
      local new = assert(runs:create_or_reject("t", { kwargs = { name = "new" }, multitask_strategy = "interrupt" }))
      executors.await_status(store, new.run_id, "success")
      assert.same({ "start old", "end old", "start new", "end new" }, order)
      assert.equal("interrupted", store:get(old.run_id).status)
    end)

    it("RUN-39: ends a run at its deadline, and tells its handler", function()
      local told
      local id = claimable("t", { deadline = in_seconds(1) })
      executors.started(runs, function(context) told = select(2, context.sleep(60)) end, { interval = 60 })
      executors.await_status(store, id, "timeout")
      executors.await(function() return told end, "the handler")
      assert.equal("cancelled", told.code)
    end)

    -- --- Leaving -----------------------------------------------------------------------------------------------------

    it("OWN-13: stops in good order: what finishes is kept, and what does not stays running", function()
      local quick, slow = assert(runs:create "a"), assert(runs:create "b")
      local executor = executors.started(runs, function(context)
        context.sleep(60)
        if context.run == slow then
          local timer = uv.new_timer()
          local thread = coroutine.running()
          timer:start(60000, 0, function() coroutine.resume(thread) end)
          coroutine.yield() -- deaf
        end
        return { exit_code = 0 }
      end)
      executors.await(function() return quick.task and slow.task end, "the starts")
      local report = assert(executor:stop { timeout = 0.1 })
      assert.same({ { quick.run_id }, { slow.run_id } },
        { support.pluck(report.finished, "run_id"), support.pluck(report.running, "run_id") })
      assert.same({ "success", "running" }, { store:get(quick.run_id).status, store:get(slow.run_id).status })
      assert.equal(report, (executor:stop()))
      assert(runs:create "c") -- the manager is as before
    end)

    it("leaves nothing in the loop", function()
      local function handles()
        local count = 0
        uv.walk(function(handle) count = count + (handle:is_closing() and 0 or 1) end)
        return count
      end
      local before = handles()
      local executor = executors.started(runs, function() end)
      executors.await_status(store, claimable "t", "success")
      assert.is_true(handles() > before)
      executor:stop()
      assert.equal(before, handles())
    end)

    it("runs until somebody stops it, a handler even", function()
      local executor
      local id = claimable "t"
      executor = executors.new(runs, function() return executor:stop { timeout = 10 } and nil end)
      local report = assert(executor:run())
      assert.same({ 1, "pending" }, { #report.running, store:get(id).status }) -- it was not waited for
      support.raises("stopped", executor.start, executor)
      assert.same({ running = 0, started = 1, ended = 1 }, executor:stats())
    end)

    it("refuses what makes no sense", function()
      local function make(options) return keel.executor(options) end
      local fn = function() end
      support.raises("manager", make, { handlers = fn })
      support.raises("manager", make, { manager = {}, handlers = fn })
      support.raises("handlers", make, { manager = runs })
      support.raises("handlers", make, { manager = runs, handlers = { 1 } })
      support.raises("colour", make, { manager = runs, handlers = fn, colour = 1 })
      support.raises("option 'loop' must be luv", make, { manager = runs, handlers = fn, loop = {} })
      support.invalid("concurrency", make { manager = runs, handlers = fn, concurrency = 0 })
      support.refused("limit_too_large", make { manager = runs, handlers = fn, concurrency = 1001 })
      support.invalid("poll", make { manager = runs, handlers = fn, poll = 0 })
      support.invalid("reconciler", make { manager = runs, handlers = fn, reconciler = "requeue" })
      for _, threads in ipairs { { 1 }, { "a", [3] = "c" }, { a = "a" } } do
        support.raises("option 'threads' must be a list of strings", make, { manager = runs, handlers = fn,
          threads = threads })
      end
      local path = support.dir() .. "/policy.lua"
      require("support.files").write(path, "return function() end")
      assert(make { manager = support.manager(store), handlers = fn, reconciler = keel.load_policy(path) })
      local wrong = { manager = runs, handlers = fn, threads = { "a", "b\n" } }
      assert.matches("threads[2]", support.invalid("threads", make(wrong)).message, 1, true)
      wrong.threads = {}
      for i = 1, 1001 do wrong.threads[i] = "t" .. i end
      support.refused("limit_too_large", make(wrong))
      support.invalid("handlers", make { manager = runs, handlers = { [("x"):rep(257)] = fn } })
      local executor = executors.new(runs, fn)
      support.raises("has an executor", make, { manager = runs, handlers = fn })
      support.invalid("timeout", executor:stop { timeout = -1 })
    end)
  end)
end)

describe("Without luv", function()
  after_each(support.clean_up)

  it("keel works, and asking for an executor names what is missing", function()
    local child = support.spawn([[
      package.preload.luv = function() error "no such module" end
      local runs = keel.run_manager { store = ":memory:" }
      assert(runs:create "t")
      say((select(2, pcall(keel.executor, { manager = runs, handlers = print })):gsub("\n", " ")))
    ]])
    local line = child:hear()
    assert.truthy(line:find "Debian package lua%-luv" and line:find "rock luv", line)
    child:finish()
  end)
end)
