local support = require "support"

support.each_store(function(open)
  --- A manager with one running run on thread "t".
  local function busy_thread(overrides)
    local store = open()
    local wrapped, calls = support.wrap(store, overrides)
    local manager = support.manager(wrapped)
    local run = assert(manager:create_or_reject "t")
    assert(manager:set_status(run.run_id, "running"))
    return manager, run, store, calls
  end

  local function untouched(run, store)
    assert.same({ "running", false }, { run.status, run.abort_event:is_set() })
    assert.is_nil(run.abort_action)
    assert.equal("running", store:get(run.run_id).status)
  end

  describe("Guarded create", function()
    it("on a free thread creates a pending run and says so", function()
      local store = open()
      local run, how = support.manager(store):create_or_reject "t"
      assert.same({ "created", "pending" }, { how, run.status })
      assert.equal("pending", store:get(run.run_id).status)
    end)

    it("RUN-23: with reject on a busy thread is a conflict naming thread and run", function()
      local manager, run, store = busy_thread()
      local events = #support.events(store)
      local err = support.refused("conflict", manager:create_or_reject "t")
      assert.same({ "t", run.run_id }, { err.thread_id, err.run_id })
      untouched(run, store)
      assert.equal(1, #store:list_by_thread "t")
      assert.equal(events, #support.events(store))
    end)

    it("RUN-23: a pending run is in the way as well", function()
      local manager = support.manager(open())
      local run = assert(manager:create "t")
      assert.equal(run.run_id, support.refused("conflict", manager:create_or_reject "t").run_id)
    end)

    it("RUN-23: other threads are unaffected", function()
      local manager = busy_thread()
      local _, how = manager:create_or_reject "u"
      assert.equal("created", how)
    end)

    it("RUN-23: when the run in the way is final the thread is free", function()
      local manager, run = busy_thread()
      assert(manager:set_status(run.run_id, "error"))
      assert.truthy(manager:create_or_reject "t")
    end)

    it("RUN-23: what another manager has in flight is in the way too", function()
      local _, run, store = busy_thread()
      local other = support.manager(store)
      assert.equal(run.run_id, support.refused("conflict", other:create_or_reject "t").run_id)
    end)

    it("RUN-24: interrupt stops the old run in memory and store, and admits a new one", function()
      local manager, old, store = busy_thread()
      local new, how = manager:create_or_reject("t", { multitask_strategy = "interrupt" })
      assert.equal("created", how)
      assert.not_equal(old.run_id, new.run_id)
      assert.same({ "interrupted", true, "interrupt" }, { old.status, old.abort_event:is_set(), old.abort_action })
      assert.same({ "interrupted", "pending" }, { store:get(old.run_id).status, store:get(new.run_id).status })
    end)

    it("RUN-24: the old run's record mirrors its row afterwards", function()
      local manager, old, store = busy_thread()
      assert(manager:create_or_reject("t", { multitask_strategy = "interrupt" }))
      local row = store:get(old.run_id)
      for _, name in ipairs { "status", "updated_at", "ended_at", "revision", "cancel_action", "fence" } do
        assert.equal(row[name], old[name], name)
      end
    end)

    it("RUN-24: interrupt stops everything in flight on the thread, and nothing elsewhere", function()
      local manager = support.manager(open())
      local pending, running = assert(manager:create "t"), assert(manager:create "t")
      local elsewhere = assert(manager:create "u")
      assert(manager:set_status(running.run_id, "running"))
      assert(manager:create_or_reject("t", { multitask_strategy = "interrupt" }))
      assert.same({ "interrupted", "interrupted", "pending" }, { pending.status, running.status, elsewhere.status })
      assert.same({ true, true, false },
        { pending.abort_event:is_set(), running.abort_event:is_set(), elsewhere.abort_event:is_set() })
    end)

    it("RUN-24: even more than the strategy is shown: all of them", function()
      local store = open { durability = "off" }
      local manager, olds = support.manager(store), {}
      for i = 1, 300 do olds[i] = assert(manager:create "t") end
      local new = assert(manager:create_or_reject("t", { multitask_strategy = "interrupt" }))
      for _, old in ipairs(olds) do assert.same({ "interrupted", true }, { old.status, old.abort_event:is_set() }) end
      assert.same({ new.run_id }, support.pluck(assert(store:list_inflight { thread_id = "t" }), "run_id"))
      assert.equal(300, #support.events(store, { kinds = { "run_finished" } }))
    end)

    it("RUN-24: interrupt on a free thread just creates", function()
      local _, how = support.manager(open()):create_or_reject("t", { multitask_strategy = "interrupt" })
      assert.equal("created", how)
    end)

    it("RUN-25: rollback stops the old run with action rollback", function()
      local manager, old, store = busy_thread()
      assert(manager:create_or_reject("t", { multitask_strategy = "rollback" }))
      assert.same({ "interrupted", true, "rollback" }, { old.status, old.abort_event:is_set(), old.abort_action })
      assert.equal("interrupted", store:get(old.run_id).status)
    end)

    it("RUN-25: afterwards the old run's owner may record that it rolled back", function()
      local manager, old, store = busy_thread()
      assert(manager:create_or_reject("t", { multitask_strategy = "rollback" }))
      assert(manager:set_status(old.run_id, "error", { error = "rolled back" }))
      assert.same({ "error", "rolled back" }, { store:get(old.run_id).status, store:get(old.run_id).error })
      assert.equal("error", old.status)
    end)

    it("RUN-25: after interrupt it may not", function()
      local manager, old, store = busy_thread()
      assert(manager:create_or_reject("t", { multitask_strategy = "interrupt" }))
      support.refused("invalid_transition", manager:set_status(old.run_id, "error", { error = "rolled back" }))
      assert.equal("interrupted", store:get(old.run_id).status)
    end)

    for _, step in ipairs { "put", "commit" } do
      for how, err in pairs { returned = support.broken(), raised = "disk I/O error" } do
        for _, strategy in ipairs { "interrupt", "rollback" } do
          it(("RUN-26: if %s fails (%s), %s leaves the old run untouched"):format(step, how, strategy), function()
            local overrides = { tx = {} }
            local manager, old, store = busy_thread(overrides)
            overrides.tx[step] = support.fail(math.huge, err)
            assert.is_nil((manager:create_or_reject("t", { multitask_strategy = strategy })))
            untouched(old, store)
            assert.equal(1, #manager:list_by_thread "t")
            assert.equal(1, #store:list_by_thread "t")
            assert.same({}, store:verify())
          end)
        end
      end
    end

    it("RUN-27: an unknown strategy is refused before anything is read or written", function()
      local wrapped, calls = support.wrap(open())
      local manager = support.manager(wrapped)
      local before = calls.total
      local err = support.refused("unsupported_strategy",
        manager:create_or_reject("t", { multitask_strategy = "no_such_thing" }))
      assert.equal(before, calls.total)
      local known = {}
      for _, name in ipairs(err.known) do known[name] = true end
      for _, name in ipairs { "reject", "interrupt", "rollback", "reuse" } do assert.is_true(known[name], name) end
    end)

    it("RUN-27: names a manager's own strategies among the known", function()
      local manager = support.manager(open(), { strategies = { my_own = function() return { admit = true } end } })
      local err = support.refused("unsupported_strategy", manager:create_or_reject("t",
        { multitask_strategy = "my_onw" }))
      assert.truthy(table.concat(err.known, " "):find("my_own", 1, true))
      assert.matches("; did you mean 'my_own'?", err.message, 1, true)
    end)

    it("reuse gives the run in flight with the same fingerprint, and says so", function()
      local store = open()
      local manager = support.manager(store)
      local options = { multitask_strategy = "reuse", fingerprint = "f" }
      local first = assert(manager:create_or_reject("t", options))
      local again, how = manager:create_or_reject("t", options)
      assert.equal("reused", how)
      assert.is_true(rawequal(first, again))
      assert.equal(1, #store:list_by_thread "t")
    end)

    it("reuse with another fingerprint, or none, is a conflict", function()
      local manager = support.manager(open())
      local run = assert(manager:create_or_reject("t", { multitask_strategy = "reuse", fingerprint = "f" }))
      for _, options in ipairs { { fingerprint = "g" }, {} } do
        options.multitask_strategy = "reuse"
        assert.equal(run.run_id, support.refused("conflict", manager:create_or_reject("t", options)).run_id)
      end
    end)

    it("reuse of a run that another manager made gives its stored record", function()
      local store = open()
      local options = { multitask_strategy = "reuse", fingerprint = "f" }
      local first = assert(support.manager(store):create_or_reject("t", options))
      local again, how = support.manager(store):create_or_reject("t", options)
      assert.same({ "reused", first.run_id, true }, { how, again.run_id, again.store_only })
    end)

    it("leaves an event that says which strategy decided, in the transaction of the run", function()
      local store = open()
      local run = assert(support.manager(store):create_or_reject("t", { multitask_strategy = "interrupt" }))
      local event = support.events(store)[1]
      assert.same({ "run_created", run.run_id, "t" }, { event.kind, event.run_id, event.thread_id })
      assert.equal("interrupt", event.data.strategy)
    end)

    it("leaves in that event the strategy's version, its reason and what it cancelled", function()
      local store = open()
      local manager = support.manager(store)
      local function decided(thread_id, strategy)
        local run = assert(manager:create_or_reject(thread_id, { multitask_strategy = strategy }))
        return support.events(store, { run_id = run.run_id })[1].data, run
      end
      local one, old = decided("t", "interrupt")
      local two = decided("t", "interrupt")
      assert.is_true(#one.strategy_version > 0)
      assert.equal(one.strategy_version, two.strategy_version)
      assert.not_equal(one.strategy_version, (decided("u", "reject")).strategy_version)
      assert.is_nil(one.cancelled)
      assert.same({ old.run_id }, two.cancelled)
      local function own() return { admit = true, reason = "because" } end
      assert.equal("because", (decided("v", own)).reason)
      assert.is_true(#(decided("w", own)).strategy_version > 0)
    end)

    it("events tell the story of an interruption in order", function()
      local manager, old, store = busy_thread()
      local new = assert(manager:create_or_reject("t", { multitask_strategy = "interrupt" }))
      local story = {}
      for _, event in ipairs(support.events(store)) do
        story[#story + 1] = event.kind .. (({ [old.run_id] = " old", [new.run_id] = " new" })[event.run_id] or "")
      end
      assert.same({ "run_created old", "run_started old" }, { story[1], story[2] })
      assert.same({ ["run_finished old"] = true, ["run_created new"] = true }, { [story[3]] = true, [story[4]] = true })
      assert.equal(4, #story)
    end)
  end)
end)
