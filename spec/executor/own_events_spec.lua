--- An executor does not read what its own coroutines have written, and misses nothing by that.
local kernel = require "keel.kernel"
local executors = require "support.executor"
local support = require "support"

local SELDOM = { interval = 60 } -- no tick comes to the rescue

support.each_store(function(open)
  describe("An executor", function()
    local store, runs
    local read = 0 -- events that were read
    local methods, read_events = kernel.store_methods, kernel.store_methods.read_events

    before_each(function()
      store = open()
      runs = support.manager(store)
      read = 0
      methods.read_events = function(...)
        local page, err = read_events(...)
        read = read + (page and #page.events or 0)
        return page, err
      end
    end)
    after_each(executors.clean_up)
    after_each(function() methods.read_events = read_events end)

    local function has_read_all(executor)
      local cursor = executor._watch._cursor
      return cursor and cursor.next_event_id > store:event_high_water()
    end

    -- What was made outside of the coroutines is read, and what comes behind it: nothing of that is to be in sight when
    -- a handler does what a test is about.
    local function let_read_all(context, executor)
      while not has_read_all(executor) do assert(context.sleep(0.001)) end
    end

    -- A chain of runs, each made by the handler of the one before, which all end as "success".
    local function chain(length, options)
      local last, executor
      executor = executors.started(runs, function(context)
        local number = tonumber(context.run.thread_id)
        if number == 1 then let_read_all(context, executor) end
        if number == length then
          last = context.run.run_id
        else
          assert(runs:create_or_reject(tostring(number + 1), options))
        end
        return { status = "success", message_count = number }
      end, SELDOM)
      executors.await(function() return executor._watch._cursor end, "the watch")
      assert(runs:create_or_reject("1", options))
      executors.await(function() return last end, "the last run")
      executors.await_status(store, last, "success")
      executors.await(function() return has_read_all(executor) end, "the end of the log")
    end

    it("reads nothing of what it has made, started and ended itself", function()
      chain(50)
      assert.equal(150, store:event_high_water())
      assert.is_true(read <= 3, read .. " events were read") -- of what was made outside of its coroutines
    end)

    it("reads nothing of what it has made for anybody, claimed and ended itself", function()
      chain(50, { claimable = true })
      assert.is_true(read <= 3, read .. " events were read")
    end)

    -- What is done to a run that holds a thread, inside of a handler.
    local ways = {
      update_run_completion = function(run) return runs:update_run_completion(run.run_id, { status = "success" }) end,
      set_status = function(run) return runs:set_status(run.run_id, "error") end,
      cancel = function(run) return runs:cancel(run.run_id) and runs:settle(run.run_id) end,
      settle = function(run) return runs:settle(run.run_id) end,
      requeue = function(run) return runs:requeue(run.run_id, { delay = 60 }) end,
      delete = function(run) return runs:delete(run.run_id) end,
      cleanup = function(run)
        return runs:update_run_progress(run.run_id, { message_count = 1 }) and runs:delete(run.run_id)
          and runs:cleanup(run.run_id) ~= nil
      end,
      transaction = function(run) -- past the manager
        return store:transaction(function(tx) return tx:delete(run.run_id) end)
      end,
      store = function(run) return store:update_status(run.run_id, "error") end,
    }

    for name, way in pairs(ways) do
      for _, claimable in ipairs { false, true } do
        local kind = claimable and "anybody's" or "its own"
        it(("starts %s waiting run when a handler ends the one before it: %s"):format(kind, name), function()
          local holder = assert(runs:create_or_reject("t", { multitask_strategy = "enqueue" }))
          assert.equal("started", runs:try_start(holder.run_id))
          if name == "settle" then assert(runs:cancel(holder.run_id)) end
          local started, executor = {}, nil
          executor = executors.started(runs, function(context)
            if context.run.thread_id == "other" then
              let_read_all(context, executor)
              assert.truthy(way(holder))
            end
            started[context.run.thread_id] = true
          end, SELDOM)
          executors.await(function() return executor._watch._cursor end, "the watch")
          assert(runs:create_or_reject("t", { multitask_strategy = "enqueue", claimable = claimable }))
          -- The look that this brings about is over, and has found it waiting.
          executors.await(function()
            return has_read_all(executor) and not executor._claims:is_worth_it() and not executor._queue:has_ready()
          end, "the first look")
          assert(runs:create "other")
          executors.await(function() return started.t end, "the waiting run")
        end)
      end
    end

    it("hears what a handler asks of its own runs through another manager on the same store", function()
      local others = support.manager(store)
      local cancelled, executor
      executor = executors.started(runs, function(context)
        if context.run.thread_id == "sleeper" then
          local _, err = context.sleep(60)
          cancelled = err
        elseif context.run.thread_id == "canceller" then
          let_read_all(context, executor)
          for _, run in ipairs(others:list_by_thread "sleeper") do assert(others:cancel(run.run_id)) end
        end
      end, SELDOM)
      local sleeper = assert(runs:create "sleeper")
      executors.await(function() return sleeper.task end, "the sleeper")
      assert(runs:create "canceller")
      executors.await(function() return cancelled end, "the cancel")
      assert.equal("cancelled", cancelled.code)
    end)

    it("claims what a handler makes for anybody past the manager, or through another one", function()
      local others, done, executor = support.manager(store), {}, nil
      executor = executors.started(runs, function(context)
        local thread = context.run.thread_id
        if thread == "first" then
          let_read_all(context, executor)
          assert(store:put("by-hand", { thread_id = "past", claimable = true }))
          assert(others:create("through", { claimable = true }))
        end
        done[thread] = true
      end, SELDOM)
      assert(runs:create "first")
      executors.await(function() return done.past and done.through end, "both")
    end)

    it("hears of another executor in its process: what that gives back it claims", function()
      local others, seen, executor = support.manager(store), {}, nil
      executors.started(others, function(context)
        seen[#seen + 1] = "the other"
        let_read_all(context, executor)
        assert(others:requeue(context.run.run_id))
      end, { interval = 60, threads = { "nothing" } })
      executor = executors.started(runs, function() seen[#seen + 1] = "this" end, SELDOM)
      executors.await(function() return store:session_id() end, "the session")
      assert(others:create "t")
      executors.await(function() return #seen == 2 end, "the second attempt")
      assert.same({ "the other", "this" }, seen)
    end)
  end)
end)
