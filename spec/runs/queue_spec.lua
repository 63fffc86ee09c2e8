--- Runs that wait for their turn: enqueue and limit.
local support = require "support"

support.each_store(function(open)
  describe("enqueue", function()
    local store, manager
    before_each(function() store, manager = support.managed(open) end)

    local function enqueue(options)
      local given = { multitask_strategy = "enqueue" }
      for name, value in pairs(options or {}) do given[name] = value end
      return manager:create_or_reject("t", given)
    end

    --- Which of the runs a try_start starts now, as a list of places; they stay started.
    local function starting(runs)
      local started = {}
      for place, run in ipairs(runs) do
        if run.status == "pending" and assert(manager:try_start(run.run_id)) == "started" then
          started[#started + 1] = place
        end
      end
      return started
    end

    it("RUN-29: on a free thread the newcomer may start", function()
      local run, how = enqueue()
      assert.same({ "created", "pending" }, { how, run.status })
      assert.equal("started", manager:try_start(run.run_id))
    end)

    it("RUN-29: the newcomer waits until all before it are final, then it is started", function()
      local first, second, third = assert(enqueue()), assert(enqueue()), assert(enqueue())
      assert.equal("started", manager:try_start(first.run_id))
      assert.equal("waiting", manager:try_start(second.run_id))
      assert.equal("pending", second.status)
      assert(manager:set_status(first.run_id, "success"))
      assert.equal("waiting", manager:try_start(third.run_id))
      assert.equal("started", manager:try_start(second.run_id))
      assert.equal("waiting", manager:try_start(third.run_id))
      assert(manager:set_status(second.run_id, "error"))
      assert.equal("started", manager:try_start(third.run_id))
    end)

    it("RUN-29: waits for a run that another strategy admitted, and for one before it that has not started", function()
      local first = assert(manager:create "t")
      local second = assert(enqueue())
      assert.equal("waiting", manager:try_start(second.run_id))
      assert.equal("started", manager:try_start(first.run_id))
      assert.equal("waiting", manager:try_start(second.run_id))
      assert(manager:set_status(first.run_id, "success"))
      assert.equal("started", manager:try_start(second.run_id))
    end)

    it("RUN-29: the order is the order of admission, whoever asks first", function()
      local runs = {}
      for i = 1, 6 do runs[i] = assert(enqueue()) end
      for i = 1, 6 do
        assert.same({ i }, starting { table.unpack(runs) })
        assert(manager:set_status(runs[i].run_id, "success"))
      end
    end)

    it("RUN-29: a cancelled one leaves the queue, and the next is started", function()
      local first, second, third = assert(enqueue()), assert(enqueue()), assert(enqueue())
      assert.equal("started", manager:try_start(first.run_id))
      assert(manager:cancel(second.run_id))
      assert(manager:set_status(first.run_id, "success"))
      assert.equal("cancelled", manager:try_start(second.run_id))
      assert.equal("started", manager:try_start(third.run_id))
    end)

    it("RUN-29: an interrupted one that was started is waited for until it has settled", function()
      local first, second = assert(enqueue()), assert(enqueue())
      assert.equal("started", manager:try_start(first.run_id))
      assert(manager:cancel(first.run_id))
      assert.same({ "interrupted", true }, { first.status, first.finalizing })
      assert.equal("waiting", manager:try_start(second.run_id))
      assert.is_true(manager:settle(first.run_id))
      assert.equal("started", manager:try_start(second.run_id))
    end)

    it("RUN-29: other threads do not wait", function()
      assert(enqueue())
      local other = assert(manager:create_or_reject("u", { multitask_strategy = "enqueue" }))
      assert.equal("started", manager:try_start(other.run_id))
    end)

    it("RUN-29: set_status asks no queue", function()
      assert(enqueue())
      local second = assert(enqueue())
      assert.equal("running", assert(manager:set_status(second.run_id, "running")).status)
    end)

    it("RUN-29: a higher priority goes ahead of what waits, not of what runs", function()
      local first = assert(enqueue())
      assert.equal("started", manager:try_start(first.run_id))
      local second, urgent = assert(enqueue()), assert(enqueue { priority = 9 })
      assert.same({}, starting { second, urgent })
      assert(manager:set_status(first.run_id, "success"))
      assert.same({ 2 }, starting { second, urgent })
    end)

    it("RUN-29: the event of the newcomer names whom it is queued behind", function()
      local first, second = assert(enqueue()), assert(enqueue())
      local third = assert(enqueue())
      local data = support.events(store, { run_id = third.run_id })[1].data
      assert.same({ first.run_id, second.run_id }, { table.unpack(data.queued_behind) })
      assert.is_nil(support.events(store, { run_id = first.run_id })[1].data.queued_behind)
    end)

    it("RUN-29: the event does not name those it goes ahead of", function()
      local first = assert(enqueue { priority = 1 })
      assert(enqueue())
      local urgent = assert(enqueue { priority = 1 })
      local data = support.events(store, { run_id = urgent.run_id })[1].data
      assert.same({ first.run_id }, { table.unpack(data.queued_behind) })
    end)

    it("RUN-29: a long queue does not fill the log", function()
      for _ = 1, 40 do assert(enqueue()) end
      local last = assert(enqueue())
      assert.equal(16, #support.events(store, { run_id = last.run_id })[1].data.queued_behind)
    end)

    it("RUN-29: one before it whose deadline passes before it starts is recovered, and the next is started", function()
      local clock = support.clock()
      store = open { clock = clock.read, monotonic = clock.read, durability = "off" }
      manager = support.manager(store)
      local first = assert(enqueue { deadline = "2026-01-01T00:00:10+00:00" })
      local second = assert(enqueue())
      assert.equal("waiting", manager:try_start(second.run_id))
      clock.advance(11)
      assert.equal("started", manager:try_start(second.run_id))
      assert.same({ store:get(first.run_id).status, true }, { first.status, first.abort_event:is_set() })
    end)

    it("RUN-29: one that clears a run of its own process out of its way brings its record up to date", function()
      local clock = support.clock()
      store = open { clock = clock.read, monotonic = clock.read, durability = "off" }
      manager = support.manager(store)
      local first = assert(enqueue { deadline = "2026-01-01T00:00:10+00:00" })
      assert.equal("started", manager:try_start(first.run_id))
      local second = assert(enqueue())
      clock.advance(11)
      assert.equal("started", manager:try_start(second.run_id))
      assert.equal(store:get(first.run_id).status, first.status)
      assert.is_true(first.abort_event:is_set())
    end)

    it("POLICY-3: max_waiting refuses beyond it, with the position it would have had", function()
      local options = { strategy_options = { max_waiting = 1 } }
      local first = assert(enqueue(options))
      assert(enqueue(options))
      local events = #support.events(store)
      local err = support.refused("conflict", enqueue(options))
      assert.same({ "t", first.run_id, 2 }, { err.thread_id, err.run_id, err.position })
      assert.matches("full", err.message)
      assert.equal(events, #support.events(store))
      assert(manager:set_status(first.run_id, "error"))
      assert.truthy((enqueue(options)))
    end)
  end)

  describe("limit", function()
    local store, manager
    before_each(function() store, manager = support.managed(open) end)

    local function limit(max, options)
      local given = { multitask_strategy = "limit", strategy_options = { max = max } }
      for name, value in pairs(options or {}) do given[name] = value end
      return assert(manager:create_or_reject("t", given))
    end

    it("POLICY-6: max of them run, the others wait", function()
      local runs, verdicts = {}, {}
      for i = 1, 5 do runs[i] = limit(3) end
      for i = 1, 5 do verdicts[i] = manager:try_start(runs[i].run_id) end
      assert.same({ "started", "started", "started", "waiting", "waiting" }, verdicts)
    end)

    it("POLICY-6: a finished run's slot goes to the next waiter, whose start succeeds from that commit on", function()
      local runs = {}
      for i = 1, 5 do runs[i] = limit(2) end
      assert.same({ "started", "started" }, { manager:try_start(runs[1].run_id), manager:try_start(runs[2].run_id) })
      assert.equal("waiting", manager:try_start(runs[3].run_id))
      assert(manager:update_run_completion(runs[2].run_id, { status = "success" }))
      assert.equal("waiting", manager:try_start(runs[4].run_id))
      assert.equal("started", manager:try_start(runs[3].run_id))
      assert.equal("waiting", manager:try_start(runs[4].run_id))
      assert(manager:set_status(runs[1].run_id, "timeout"))
      assert.equal("started", manager:try_start(runs[4].run_id))
    end)

    it("POLICY-6: counts what other strategies admitted, and what is finalizing", function()
      local first = assert(manager:create "t")
      assert.equal("started", manager:try_start(first.run_id))
      assert(manager:cancel(first.run_id))
      local second, third = limit(2), limit(2)
      assert.equal("started", manager:try_start(second.run_id))
      assert.equal("waiting", manager:try_start(third.run_id))
      assert(manager:settle(first.run_id))
      assert.equal("started", manager:try_start(third.run_id))
    end)

    it("POLICY-6: counts runs in the transaction: those that came and went elsewhere are known at once", function()
      local other = support.manager(store)
      local theirs = assert(other:create_or_reject("t", { multitask_strategy = "limit" }))
      assert.equal("started", other:try_start(theirs.run_id))
      local ours = limit(1)
      assert.equal("waiting", manager:try_start(ours.run_id))
      assert(other:set_status(theirs.run_id, "success"))
      assert.equal("started", manager:try_start(ours.run_id))
    end)

    it("POLICY-6: a run that was deleted frees its slot", function()
      local first, second = limit(1), limit(1)
      assert.equal("started", manager:try_start(first.run_id))
      assert(manager:delete(first.run_id))
      assert.equal("started", manager:try_start(second.run_id))
    end)

    it("POLICY-6: a start that could not be written takes no slot", function()
      local overrides = {}
      manager = support.manager((support.wrap(store, overrides)))
      local first, second = limit(1), limit(1)
      overrides.update_status = support.fail(1, support.broken())
      assert.is_nil((manager:try_start(first.run_id)))
      assert.equal("pending", first.status)
      assert.equal("started", manager:try_start(first.run_id))
      assert.equal("waiting", manager:try_start(second.run_id))
    end)

    for what, max in pairs { ["0"] = 0, ["1.5"] = 1.5, ["a negative number"] = -1 } do
      it("POLICY-6: " .. what .. " as max is refused, and nothing changed", function()
        support.refused("invalid_request", manager:create_or_reject("t", {
          multitask_strategy = "limit", strategy_options = { max = max },
        }))
        assert.equal(0, #support.events(store))
      end)
    end

    it("POLICY-6: a text as max raises, and nothing changed", function()
      assert.error_matches(function()
        manager:create_or_reject("t", { multitask_strategy = "limit", strategy_options = { max = "x" } })
      end, "max")
      assert.equal(0, #support.events(store))
    end)
  end)
end)

--- --- Among processes -----------------------------------------------------------------------------------------------

--- Admits runs under a strategy, starts and ends each when its turn has come. Turns are polled: what counts is order.
local WORKER = [[
  local path, strategy, max, count = ...
  local manager = keel.run_manager { store = assert(keel.open(path, { durability = "off" })) }
  local runs, done = {}, 0
  say "ready" hear()
  for i = 1, math.tointeger(count) do
    runs[i] = assert(manager:create_or_reject("t", { multitask_strategy = strategy,
      strategy_options = strategy == "limit" and { max = math.tointeger(max) } or nil }))
  end
  while #runs > 0 do
    for i = #runs, 1, -1 do
      local run = runs[i]
      if run.status == "pending" then assert(manager:try_start(run.run_id))
      else
        assert(manager:set_status(run.run_id, "success"))
        table.remove(runs, i)
      end
    end
  end
  say "done"
]]

describe("[#sqlite] Processes that share a thread", function()
  after_each(support.clean_up)

  local function compete(strategy, max, processes, count)
    local path, children = support.path(), {}
    local store = support.open(path)
    for i = 1, processes do children[i] = support.spawn(WORKER, { path, strategy, max, count }) end
    for _, child in ipairs(children) do child:expect "ready" end
    for _, child in ipairs(children) do child:say "go" end
    for _, child in ipairs(children) do
      child:expect "done"
      child:finish()
    end
    return support.events(store)
  end

  --- The most that ran at once, the runs in the order they were created, and in the order they started.
  local function story(events)
    local running, most, created, started = 0, 0, {}, {}
    for _, event in ipairs(events) do
      if event.kind == "run_created" then created[#created + 1] = event.run_id end
      if event.kind == "run_started" then
        started[#started + 1] = event.run_id
        running = running + 1
      end
      if event.kind == "run_finished" then running = running - 1 end
      most = math.max(most, running)
    end
    return most, created, started
  end

  it("POLICY-6: limit: never N + 1 running in any race, and all of them get their turn", function()
    local most, created, started = story(compete("limit", 3, 4, 15))
    assert.is_true(most <= 3, "more than three ran at once: " .. most)
    assert.same({ 60, 60 }, { #created, #started })
    assert.same(created, started)
  end)

  it("RUN-29: enqueue: they start one by one, in the order of admission", function()
    local most, created, started = story(compete("enqueue", 1, 3, 10))
    assert.equal(1, most)
    assert.same(created, started)
  end)

  it("POLICY-6: the slot of one that was killed goes to the next waiter", function()
    local path = support.path()
    local child = support.spawn([[
      local manager = keel.run_manager { store = assert(keel.open((...))) }
      local run = assert(manager:create_or_reject("t", { multitask_strategy = "limit" }))
      assert(manager:try_start(run.run_id) == "started")
      say(run.run_id)
      hear()
    ]], { path })
    local dead = child:hear()
    local store = support.open(path)
    local manager = support.manager(store)
    local run = assert(manager:create_or_reject("t", { multitask_strategy = "limit" }))
    assert.equal("waiting", manager:try_start(run.run_id))
    child:kill()
    assert.equal("started", manager:try_start(run.run_id))
    assert.same({ "error", "orphan_recovered" }, { store:get(dead).status, store:get(dead).stop_reason })
  end)
end)
