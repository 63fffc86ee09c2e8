--- Newcomers that take the place of others: replace_pending, debounce and preempt.
local support = require "support"

support.each_store(function(open)
  local clock, store, manager
  before_each(function()
    clock = support.clock()
    store = open { clock = clock.read, monotonic = clock.read, durability = "off" }
    manager = support.manager(store)
  end)

  local function creator(strategy, strategy_options)
    return function(options)
      local given = { multitask_strategy = strategy, strategy_options = strategy_options }
      for name, value in pairs(options or {}) do given[name] = value end
      return assert(manager:create_or_reject("t", given))
    end
  end

  describe("replace_pending", function()
    local create = creator "replace_pending"

    it("POLICY-4: the superseded run ends interrupted, with a reason and the id of its successor", function()
      local running = create()
      assert.equal("started", manager:try_start(running.run_id))
      local waiting = create()
      local newcomer = create()
      for _, run in ipairs { waiting, store:get(waiting.run_id) } do
        assert.same({ "interrupted", "superseded", newcomer.run_id }, { run.status, run.stop_reason, run.successor })
      end
      assert.same({ true, "interrupt" }, { waiting.abort_event:is_set(), waiting.abort_action })
      assert.equal("cancelled", manager:try_start(waiting.run_id))
    end)

    it("POLICY-4: leaves alone what runs, and waits for it", function()
      local running = create()
      assert.equal("started", manager:try_start(running.run_id))
      local newcomer = create()
      assert.same({ "running", false }, { running.status, running.abort_event:is_set() })
      assert.equal("waiting", manager:try_start(newcomer.run_id))
      assert(manager:set_status(running.run_id, "success"))
      assert.equal("started", manager:try_start(newcomer.run_id))
    end)

    it("POLICY-4: at most one runs and one waits, however many come", function()
      local first = create()
      assert.equal("started", manager:try_start(first.run_id))
      local last
      for _ = 1, 10 do
        last = create()
        local inflight = assert(store:list_inflight { thread_id = "t" })
        assert.same({ first.run_id, last.run_id }, support.pluck(inflight, "run_id"))
      end
    end)

    it("POLICY-4: the one that has not started yet is replaced as well", function()
      local first, second = create(), create()
      assert.same({ "interrupted", second.run_id }, { first.status, first.successor })
      assert.equal("started", manager:try_start(second.run_id))
    end)

    it("POLICY-4: replaces what another manager made wait; its start then says cancelled", function()
      local other = support.manager(store)
      local theirs = assert(other:create_or_reject("t", { multitask_strategy = "replace_pending" }))
      local ours = create()
      assert.equal("cancelled", other:try_start(theirs.run_id))
      assert.same({ "interrupted", "superseded", ours.run_id },
        { theirs.status, theirs.stop_reason, theirs.successor })
    end)

    it("POLICY-4: leaves no more than one waiting where others let several wait", function()
      local olds = { assert(manager:create "t"), assert(manager:create "t"), assert(manager:create "t") }
      local newcomer = create()
      assert.same({ "interrupted", "interrupted", "interrupted" }, support.pluck(olds, "status"))
      assert.same({ newcomer.run_id }, support.pluck(assert(store:list_inflight { thread_id = "t" }), "run_id"))
    end)

    it("POLICY-4: the events tell of it, and of whom the newcomer replaced", function()
      local first, second = create(), create()
      local events = support.events(store)
      assert.same({ "run_created", "run_finished", "run_created" }, support.pluck(events, "kind"))
      assert.same({ first.run_id, "interrupted", "superseded" },
        { events[2].run_id, events[2].data.status, events[2].data.stop_reason })
      assert.same({ second.run_id, first.run_id }, { events[3].run_id, events[3].data.replaced })
    end)

    it("RUN-26: if the newcomer cannot be persisted, the one that waits goes on waiting", function()
      local overrides = { tx = {} }
      manager = support.manager((support.wrap(store, overrides)))
      local first = create()
      overrides.tx.commit = support.fail(math.huge, support.broken())
      assert.is_nil((manager:create_or_reject("t", { multitask_strategy = "replace_pending" })))
      assert.same({ "pending", false }, { first.status, first.abort_event:is_set() })
      assert.is_nil(store:get(first.run_id).successor)
      assert.equal("started", manager:try_start(first.run_id))
    end)
  end)

  describe("debounce", function()
    local create = creator("debounce", { wait = 2, max_wait = 5 })

    it("POLICY-5: waits for quiet", function()
      local run = create()
      assert.equal("2026-01-01T00:00:02+00:00", run.scheduled_at)
      assert.equal("waiting", manager:try_start(run.run_id))
      clock.advance(1.999)
      assert.equal("waiting", manager:try_start(run.run_id))
      clock.advance(0.001)
      assert.equal("started", manager:try_start(run.run_id))
    end)

    it("POLICY-5: runs once, with the last payload", function()
      local last
      for i = 1, 3 do
        last = create { kwargs = { n = i } }
        clock.advance(1)
      end
      assert.equal("waiting", manager:try_start(last.run_id))
      clock.advance(1)
      assert.equal("started", manager:try_start(last.run_id))
      local inflight = assert(store:list_inflight { thread_id = "t" })
      assert.same({ { n = 3 } }, support.pluck(inflight, "kwargs"))
      assert.equal(1, #support.events(store, { kinds = { "run_started" } }))
    end)

    it("POLICY-5: the superseded ones end interrupted, each with its successor", function()
      local first, second, third = create(), create(), create()
      assert.same({ "interrupted", "superseded", second.run_id }, { first.status, first.stop_reason, first.successor })
      assert.equal(third.run_id, second.successor)
    end)

    it("POLICY-5: never waits longer than a maximum that is fixed at the first call", function()
      local last
      for _ = 1, 5 do
        last = create()
        clock.advance(0.9)
      end -- at 4.5 s; the last call was at 3.6 s
      assert.equal("waiting", manager:try_start(last.run_id))
      last = assert(manager:create_or_reject("t", { multitask_strategy = "debounce",
        strategy_options = { wait = 2, max_wait = 1000 } })) -- a later maximum changes nothing
      assert.equal("2026-01-01T00:00:05+00:00", last.scheduled_at)
      clock.advance(0.5)
      assert.equal("started", manager:try_start(last.run_id))
    end)

    it("POLICY-5: a call after the maximum, before anybody has started the run, does not put it off again", function()
      create()
      clock.advance(60)
      assert.equal("started", manager:try_start(create().run_id))
    end)

    it("POLICY-5: never touches a run that has started; the next call begins anew", function()
      local first = create()
      clock.advance(4)
      assert.equal("started", manager:try_start(first.run_id))
      local second = create()
      assert.same({ "running", false }, { first.status, first.abort_event:is_set() })
      assert.equal("2026-01-01T00:00:06+00:00", second.scheduled_at)
      clock.advance(1.5)
      assert.equal("2026-01-01T00:00:07.500000+00:00", create().scheduled_at)
    end)

    it("POLICY-5: a time asked for by the caller holds when it is later", function()
      assert.equal("2026-01-01T00:01:00+00:00", create { scheduled_at = "2026-01-01T00:01:00Z" }.scheduled_at)
      assert.equal("2026-01-01T00:00:02+00:00", create { scheduled_at = "2026-01-01T00:00:01Z" }.scheduled_at)
    end)

    it("POLICY-5: leaves alone what other strategies made wait", function()
      local other = assert(manager:create_or_reject("t", { multitask_strategy = "enqueue" }))
      create()
      assert.equal("pending", other.status)
    end)

    it("POLICY-5: threads do not disturb each other", function()
      local one = create()
      assert(manager:create_or_reject("u", { multitask_strategy = "debounce" }))
      assert.equal("pending", one.status)
    end)

    for what, options in pairs { ["a negative wait"] = { wait = -1 }, ["NaN"] = { wait = 0 / 0 },
      ["an endless wait"] = { wait = math.huge } } do
      it("refuses " .. what .. ", and nothing changed", function()
        support.invalid("wait",
          manager:create_or_reject("t", { multitask_strategy = "debounce", strategy_options = options }))
        assert.equal(0, #support.events(store))
      end)
    end
  end)

  describe("preempt", function()
    local create = creator "preempt"

    it("POLICY-7: a strictly higher priority interrupts what runs, and starts when that has settled", function()
      local low = create { priority = 1 }
      assert.equal("started", manager:try_start(low.run_id))
      local high = create { priority = 2 }
      assert.same({ "interrupted", true, "interrupt" }, { low.status, low.abort_event:is_set(), low.abort_action })
      assert.equal("waiting", manager:try_start(high.run_id))
      assert(manager:settle(low.run_id))
      assert.equal("started", manager:try_start(high.run_id))
    end)

    for what, priority in pairs { equal = 1, lower = 0 } do
      it("POLICY-7: of " .. what .. " priority it queues", function()
        local running = create { priority = 1 }
        assert.equal("started", manager:try_start(running.run_id))
        local newcomer = create { priority = priority }
        assert.same({ "running", false }, { running.status, running.abort_event:is_set() })
        assert.equal("waiting", manager:try_start(newcomer.run_id))
        assert(manager:set_status(running.run_id, "success"))
        assert.equal("started", manager:try_start(newcomer.run_id))
      end)
    end

    it("POLICY-7: one that waits for its turn is passed, not interrupted", function()
      local running = create { priority = 5 }
      assert.equal("started", manager:try_start(running.run_id))
      local low, middle = create { priority = 1 }, create { priority = 2 }
      assert.equal("pending", low.status)
      assert(manager:set_status(running.run_id, "success"))
      assert.equal("waiting", manager:try_start(low.run_id))
      assert.equal("started", manager:try_start(middle.run_id))
      assert(manager:set_status(middle.run_id, "success"))
      assert.equal("started", manager:try_start(low.run_id))
    end)

    it("POLICY-7: equal ones keep the order of admission", function()
      local one, two, three = create(), create(), create()
      assert.equal("waiting", manager:try_start(three.run_id))
      assert.equal("waiting", manager:try_start(two.run_id))
      assert.equal("started", manager:try_start(one.run_id))
    end)

    it("POLICY-7: the event of the newcomer names whom it interrupted", function()
      local low = create()
      assert.equal("started", manager:try_start(low.run_id))
      local high = create { priority = 1 }
      local data = support.events(store, { run_id = high.run_id })[1].data
      assert.same({ "preempt", low.run_id, "interrupt" }, { data.strategy, data.cancelled[1], data.action })
    end)
  end)
end)

describe("[#sqlite] preempt on another process's run", function()
  after_each(support.clean_up)

  it("POLICY-7: asks its owner, and the newcomer waits for it", function()
    local path = support.path()
    local theirs, ours = support.manager(support.open(path)), support.manager(support.open(path))
    local low = assert(theirs:create_or_reject("t", { multitask_strategy = "preempt" }))
    assert.equal("started", theirs:try_start(low.run_id))
    local high = assert(ours:create_or_reject("t", { multitask_strategy = "preempt", priority = 1 }))
    assert.same({ "running", "interrupt" }, { ours:get(low.run_id).status, ours:get(low.run_id).cancel_action })
    assert.equal("waiting", ours:try_start(high.run_id))
    assert(theirs:set_status(low.run_id, "interrupted"))
    assert.equal("started", ours:try_start(high.run_id))
  end)
end)

describe("[#sqlite] Processes that replace each other's runs", function()
  after_each(support.clean_up)

  it("POLICY-4: never leave more than one waiting, and every superseded run has a successor", function()
    local path, children = support.path(), {}
    local store = support.open(path)
    for i = 1, 4 do
      children[i] = support.spawn([[
        local manager = keel.run_manager { store = assert(keel.open((...), { durability = "off" })) }
        say "ready" hear()
        for _ = 1, 25 do
          local run = assert(manager:create_or_reject("t", { multitask_strategy = "replace_pending" }))
          local verdict = assert(manager:try_start(run.run_id))
          if verdict == "started" then assert(manager:set_status(run.run_id, "success")) end
        end
        say "done" hear()
      ]], { path })
    end
    for _, child in ipairs(children) do child:expect "ready" end
    for _, child in ipairs(children) do child:say "go" end
    for _, child in ipairs(children) do child:expect "done" end

    local waiting, most, made = {}, 0, 0
    for _, event in ipairs(support.events(store)) do
      if event.kind == "run_created" then made = made + 1 end
      waiting[event.run_id] = event.kind == "run_created" or nil
      local count = 0
      for _ in pairs(waiting) do count = count + 1 end
      most = math.max(most, count)
    end
    assert.equal(100, made)
    assert.equal(1, most)
    for _, run in ipairs(assert(store:list_by_thread("t", { limit = 100 }))) do
      if run.status == "interrupted" then
        assert.equal("superseded", run.stop_reason)
        assert.truthy(store:get(run.successor))
      end
    end
  end)
end)
