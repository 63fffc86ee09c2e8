--- Answers: why a run is not running, and what admission would decide.
local support = require "support"

support.each_store(function(open)
  local clock, store, manager
  before_each(function()
    clock = support.clock()
    store = open { clock = clock.read, monotonic = clock.read, durability = "off" }
    manager = support.manager(store)
  end)

  local function create(strategy, options)
    local given = { multitask_strategy = strategy }
    for name, value in pairs(options or {}) do given[name] = value end
    return assert(manager:create_or_reject("t", given))
  end

  local function explain(run)
    return assert(manager:explain(run.run_id))
  end

  describe("explain", function()
    it("POLICY-11: of a run that may start says so, and who admitted it", function()
      local answer = explain(create "enqueue")
      assert.is_nil(answer.waits_for)
      assert.same({ "t", "pending", 1, "enqueue" },
        { answer.thread_id, answer.status, answer.position, answer.strategy })
      assert.equal("2026-01-01T00:00:00+00:00", answer.startable_at)
      assert.is_true(#answer.strategy_version > 0 and #answer.reason > 0)
    end)

    it("GATE-12: says how long a run has waited since its time came, and what it never gets", function()
      local run = assert(manager:create("t", { scheduled_at = 30, slots = { { name = "gpu", max = 0 } } }))
      clock.advance(10)
      assert.equal(0, explain(run).waited)
      clock.advance(50)
      assert.same({ 30, "slot", "'gpu' has no place: its limit is 0" },
        { explain(run).waited, explain(run).waits_for, explain(run).reason })
      run = assert(manager:create("t", { rates = { { name = "api", max = 0, per = 5 } } }))
      assert.equal("no run may ever start with 'api': its limit is 0", explain(run).reason)
    end)

    it("POLICY-11: of a run in a queue names its position and who is ahead", function()
      local first, second, third = create "enqueue", create "enqueue", create "enqueue"
      local answer = explain(second)
      assert.same({ "queue", first.run_id, 2 }, { answer.waits_for, answer.run_id_in_the_way, answer.position })
      assert.truthy(answer.reason:find(first.run_id, 1, true))
      assert.equal(3, explain(third).position)
      assert(manager:cancel(first.run_id))
      assert.same({ nil, 1 }, { explain(second).waits_for, explain(second).position })
      assert.same({ "queue", second.run_id, 2 },
        { explain(third).waits_for, explain(third).run_id_in_the_way, explain(third).position })
    end)

    it("POLICY-11: the position goes by priority first", function()
      local one, two = create "enqueue", create("enqueue", { priority = 5 })
      assert.same({ 2, 1 }, { explain(one).position, explain(two).position })
    end)

    it("POLICY-11: of the first in the queue, while others run, names one of these", function()
      local running = create "enqueue"
      assert.equal("started", manager:try_start(running.run_id))
      local answer = explain(create "enqueue")
      assert.same({ "concurrency", running.run_id, 1 },
        { answer.waits_for, answer.run_id_in_the_way, answer.position })
      assert.is_nil(answer.startable_at)
    end)

    it("POLICY-11: of a run that waits for its time says when it could start", function()
      local run = create("debounce", { strategy_options = { wait = 90 } })
      local answer = explain(run)
      assert.same({ "delay", "2026-01-01T00:01:30+00:00" }, { answer.waits_for, answer.startable_at })
      clock.advance(90)
      assert.is_nil(explain(run).waits_for)
    end)

    it("POLICY-11: of a run that waits for others names one that has not settled", function()
      local old = create "allow"
      assert.equal("started", manager:try_start(old.run_id))
      local answer = explain(create "interrupt")
      assert.same({ "after", old.run_id }, { answer.waits_for, answer.run_id_in_the_way })
    end)

    it("GATE-12: of a run that waits for others says what of them, and which is its parent", function()
      local parent, other = assert(manager:create "p").run_id, assert(manager:create "o").run_id
      local run = assert(manager:create("t", { parent_run_id = parent, after = { parent, { run_id = other,
        on = "final" } } }))
      local answer = explain(run)
      assert.equal(parent, answer.parent_run_id)
      assert.equal(("it waits for run %s, its parent, to succeed"):format(parent), answer.reason)
      assert.same({ answer.reason, ("it waits for run %s to settle"):format(other) },
        support.pluck(answer.reasons, "reason"))
      local dry = assert(manager:dry_run("t", { strategy = "allow", after = { other } }))
      assert.equal(("it waits for run %s to succeed"):format(other), dry.reasons[1].reason)
    end)

    it("FAMILY-3: of a run that was stopped with its parent says so, and of one that failed with a source", function()
      local parent = assert(manager:create "p")
      local child = assert(manager:create("t", { parent_run_id = parent.run_id }))
      local after = assert(manager:create("t", { after = { parent.run_id } }))
      assert(manager:cancel(parent.run_id))
      assert.equal("it has ended: interrupted (cancelled)", explain(parent).reason)
      assert.equal("it has ended: interrupted (cancelled) with its parent, run " .. parent.run_id,
        explain(child).reason)
      assert.equal(("it has ended: error (dependency_failed): run %s, which it waited for, has not succeeded"):format(
        parent.run_id), explain(after).reason)
    end)

    it("FAMILY-3: of a run whose parent was cancelled, and which nobody has come to, says so", function()
      local parent = assert(manager:create "p").run_id
      local last
      assert(store:transaction(function(tx)
        for i = 1, 1001 do
          last = "c" .. i
          assert(tx:put(last, { thread_id = "t", parent_run_id = parent, claimable = true }))
        end
      end))
      assert(store:transaction(function(tx) assert(tx:update_status(parent, "interrupted",
        { cancel_action = "interrupt" })) end))
      assert.equal("pending", store:get(last).status)
      assert.matches("its parent, run " .. parent .. ", was cancelled", explain({ run_id = last }).note, 1, true)
      assert(manager:tick())
      local answer = explain { run_id = last }
      assert.same({ "interrupted", nil }, { answer.status, answer.note })
    end)

    it("POLICY-11: of a claimable run says that it waits to be claimed", function()
      local run = create("enqueue", { claimable = true })
      assert.equal("claim", explain(run).waits_for)
    end)

    it("POLICY-11: of a run whose owner is gone, or whose time is over, says that it waits for recovery", function()
      assert(store:put("nobodys", { thread_id = "t" }))
      assert.equal("recovery", explain({ run_id = "nobodys" }).waits_for)
      local late = create("allow", { deadline = "2026-01-01T00:00:10+00:00" })
      assert.is_nil(explain(late).waits_for)
      clock.advance(10)
      assert.equal("recovery", explain(late).waits_for)
      assert.matches("deadline", explain(late).reason)
    end)

    it("POLICY-11: of a run that runs, or has ended, says so", function()
      local run = create "enqueue"
      assert.equal("started", manager:try_start(run.run_id))
      assert.same({ "running", nil, nil }, { explain(run).status, explain(run).waits_for, explain(run).position })
      assert(manager:set_status(run.run_id, "error", { stop_reason = "bored" }))
      assert.equal("error", explain(run).status)
      assert.matches("bored", explain(run).reason)
    end)

    it("POLICY-11: repeats the reason that the strategy gave", function()
      local run = create(function() return { admit = true, reason = "because" } end)
      assert.equal("because", explain(run).strategy_reason)
    end)

    it("POLICY-11: of a run that create made names no version, only the strategy it was given", function()
      local answer = explain(assert(manager:create("t", { multitask_strategy = "limit" })))
      assert.same({ "limit" }, { answer.strategy, answer.strategy_version })
    end)

    it("POLICY-11: of another manager's run is the same", function()
      create "enqueue"
      local second = create "enqueue"
      assert.same(explain(second), assert(support.manager(store):explain(second.run_id)))
    end)

    it("POLICY-11: changes nothing", function()
      local run = create "enqueue"
      local events, row = #support.events(store), store:get(run.run_id)
      explain(run)
      assert.same({ events, row }, { #support.events(store), store:get(run.run_id) })
    end)

    it("of an unknown run is not_found; of a wrong type it raises", function()
      support.refused("not_found", manager:explain(support.unknown_id()))
      support.raises({ "run_id", "#1" }, manager.explain, manager, nil)
    end)

    it("of a store that fails is its error", function()
      local run = create "enqueue"
      for _, method in ipairs { "get", "gate" } do
        local broken = support.manager((support.wrap(store, { [method] = support.fail(9, support.broken()) })),
          { log = support.log() })
        support.refused("store_corrupt", broken:explain(run.run_id))
      end
    end)
  end)

  describe("dry_run", function()
    --- Everything that could have changed.
    local function state()
      return { assert(store:list_by_thread("t", { limit = 1000 })), assert(store:list_inflight { limit = 1000 }),
        support.events(store) }
    end

    --- Asks, and checks that nothing changed.
    local function dry_run(options, thread_id)
      local before = state()
      local result = table.pack(manager:dry_run(thread_id or "t", options))
      assert.same(before, state())
      return table.unpack(result, 1, result.n)
    end

    it("POLICY-12: says what would be created", function()
      local answer = assert(dry_run { multitask_strategy = "limit", strategy_options = { max = 3 } })
      assert.same({ "created", "limit", 3 }, { answer.verdict, answer.strategy, answer.concurrency })
      assert.is_true(#answer.strategy_version > 0)
      assert.is_nil(answer.run_id)
    end)

    it("POLICY-12: says what the newcomer would then wait for, in the order of the gate", function()
      local slots, rates = { { name = "gpu", max = 1 } }, { { name = "api", max = 1, per = 60 } }
      local holder = assert(manager:create("u", { slots = slots, rates = rates }))
      assert.equal("started", manager:try_start(holder.run_id))
      assert(manager:pause("thread:t"))
      local answer = manager:dry_run("t", { slots = slots, rates = rates })
      assert.same({ "slot", "rate", "paused" }, support.pluck(answer.reasons, "waits_for"))
      assert.same({ "slot", "gpu", holder.run_id, "2026-01-01T00:01:00+00:00" },
        { answer.waits_for, answer.name, answer.reasons[1].run_id, answer.reasons[2].startable_at })
      assert.same({}, manager:dry_run("w").reasons)
      assert.is_nil(manager:dry_run("w").waits_for)
    end)

    it("POLICY-12: says what would be refused, why, and by which run", function()
      local run = create "allow"
      local answer = assert(dry_run())
      assert.same({ "refused", run.run_id, "reject" }, { answer.verdict, answer.run_id, answer.strategy })
      assert.is_true(#answer.reason > 0)
    end)

    it("POLICY-12: says the position in a full queue", function()
      create "enqueue"
      local answer = assert(dry_run { multitask_strategy = "enqueue", strategy_options = { max_waiting = 0 } })
      assert.same({ "refused", 1 }, { answer.verdict, answer.position })
    end)

    it("POLICY-12: says what would be reused, by fingerprint and by key", function()
      local run = create("reuse", { fingerprint = "f", idempotency_key = "k" })
      for _, options in ipairs { { multitask_strategy = "reuse", fingerprint = "f" }, { idempotency_key = "k" } } do
        local answer = assert(dry_run(options))
        assert.same({ "reused", run.run_id }, { answer.verdict, answer.run_id })
      end
    end)

    it("POLICY-12: says whom it would cancel, and stops nobody", function()
      local one, two = create "allow", create "allow"
      assert.equal("started", manager:try_start(two.run_id))
      local answer = assert(dry_run { multitask_strategy = "rollback" })
      assert.same({ "created", "rollback" }, { answer.verdict, answer.action })
      assert.same({ one.run_id, two.run_id }, answer.cancelled)
      assert.same({ "pending", "running" }, { one.status, two.status })
      assert.same({ false, false }, { one.abort_event:is_set(), two.abort_event:is_set() })
    end)

    it("POLICY-12: says whom it would replace, and when it would start", function()
      local waiting = create "debounce"
      local answer = assert(dry_run { multitask_strategy = "debounce" })
      assert.same({ waiting.run_id, "2026-01-01T00:00:01+00:00" }, { answer.replaced, answer.scheduled_at })
      assert.equal("pending", waiting.status)
    end)

    it("POLICY-12: says whom it would be queued behind", function()
      local first, second = create "enqueue", create "enqueue"
      assert.same({ first.run_id, second.run_id }, assert(dry_run { multitask_strategy = "enqueue" }).queued_behind)
    end)

    it("POLICY-12: says that a reservation is in the way", function()
      manager:reserve("t", "delete", function()
        local answer = assert(dry_run { multitask_strategy = "interrupt" })
        assert.equal("refused", answer.verdict)
        assert.matches("delete", answer.reason)
      end)
    end)

    it("POLICY-12: decides as if the dead were recovered, and leaves them", function()
      assert(store:put("dead", { thread_id = "t", status = "running" })) -- nobody's
      assert.equal("created", assert(dry_run()).verdict)
      assert.equal("running", store:get("dead").status)
    end)

    it("POLICY-12: leaves no refusal in the log either", function()
      manager = support.manager(store, { record_refusals = true })
      create("reuse", { fingerprint = "f" })
      assert.equal("refused", assert(dry_run()).verdict)
      assert.equal("reused", assert(dry_run { multitask_strategy = "reuse", fingerprint = "f" }).verdict)
    end)

    it("POLICY-12: asks a strategy of the user's own, under its budget", function()
      local answer = assert(dry_run { multitask_strategy = function() return { admit = true, reason = "why not" } end })
      assert.same({ "custom", "why not" }, { answer.strategy, answer.reason })
      support.refused("policy_failed", dry_run { multitask_strategy = function() return "yes" end })
      support.refused("policy_budget", dry_run { multitask_strategy = function() while true do end end })
    end)

    it("POLICY-12: then the same call decides the same", function()
      for _, strategy in ipairs { "enqueue", "interrupt", "replace_pending" } do
        create(strategy)
        local answer = assert(dry_run { multitask_strategy = strategy })
        local run = create(strategy)
        local data = support.events(store, { run_id = run.run_id })[1].data
        assert.same({ answer.replaced, answer.action }, { data.replaced, data.action })
        assert.same(answer.cancelled, data.cancelled and { table.unpack(data.cancelled) })
        assert.same(answer.queued_behind, data.queued_behind and { table.unpack(data.queued_behind) })
        assert.same({ answer.strategy, answer.strategy_version }, { data.strategy, data.strategy_version })
      end
    end)

    it("fails like create_or_reject", function()
      support.refused("unsupported_strategy", dry_run { multitask_strategy = "no_such_thing" })
      support.invalid("thread_id", dry_run({}, ""))
      support.invalid("idempotency_ttl", dry_run { idempotency_key = "k", idempotency_ttl = -1 })
      create("allow", { idempotency_key = "k" })
      support.refused("idempotency_mismatch", dry_run { idempotency_key = "k", kwargs = { n = 1 } })
      support.raises("colour", manager.dry_run, manager, "t", { colour = "red" })
      support.raises({ "thread_id", "#1" }, manager.dry_run, manager, nil)
    end)

    it("POLICY-12: of a store that is busy is tried again, and changes nothing still", function()
      manager = support.manager((support.wrap(store, { begin = support.fail(2, support.busy()) })),
        { log = support.log() })
      assert.equal("created", assert(dry_run()).verdict)
    end)
  end)
end)
