--- Strategies that read: what is counted for them, in the transaction that admits.
local support = require "support"

local function say(text)
  return { reads = function() return text.questions end, decide = function(_, _, read)
    text.read = read
    return text.decision or { admit = true }
  end }
end

support.each_store(function(open)
  describe("a strategy that reads", function()
    local store, manager, clock
    before_each(function() store, manager, clock = support.managed(open) end)

    local function count(question)
      local told = { questions = { n = question }, decision = { admit = false } }
      support.refused("conflict", manager:create_or_reject("asking", { strategy = say(told) }))
      assert.same(told.read.n, store:count_runs(question))
      return told.read.n
    end
    local function counts(filter)
      local three = {}
      for i, what in ipairs { "inflight", "pending", "running" } do
        local question = { count = what }
        for name, value in pairs(filter) do question[name] = value end
        three[i] = count(question)
      end
      return three
    end

    it("POLICY-13: counts runs over all threads, by user, handler, batch, thread, slot, and all", function()
      local mine = { user_id = "ada", handler = "render", batch_id = "b", slots = { { name = "gpu", max = 2 } } }
      local first = assert(manager:create("t1", mine))
      assert(manager:create("t2", mine))
      assert(manager:create("t2", mine))
      assert(manager:create("t2", { user_id = "bob" }))
      assert(manager:try_start(first.run_id))
      for _, filter in ipairs { { user_id = "ada" }, { handler = "render" }, { batch_id = "b" }, { slot = "gpu" } } do
        assert.same({ 3, 2, 1 }, counts(filter))
      end
      assert.same({ 3, 3, 0 }, counts { thread_id = "t2" })
      assert.same({ 4, 3, 1 }, counts {})
      assert.same({ 0, 0, 0 }, counts { user_id = "eve" })
      assert.same({}, store:verify())
    end)

    it("POLICY-13: counts runs without a handler as those of the handler default", function()
      local first = assert(manager:create("t1", {}))
      assert(manager:create("t2", { handler = "default" }))
      assert(manager:create("t3", { handler = "render" }))
      assert(manager:create("t4", { scheduled_at = 60, slots = { { name = "gpu", max = 1 } } }))
      assert(store:put("m", { thread_id = "keel.machine/m", operation_kind = "dispatch" }))
      assert.same({ 3, 3, 0 }, counts { handler = "default" })
      assert(manager:try_start(first.run_id))
      assert.same({ 3, 2, 1 }, counts { handler = "default" })
      assert(manager:cancel(first.run_id))
      assert.is_true(store:get(first.run_id).finalizing)
      assert.same({ 2, 2, 0 }, counts { handler = "default" })
    end)

    it("counts what a run is now, and nothing that has ended", function()
      local run = assert(manager:create("t", { user_id = "ada", batch_id = "b" }))
      assert(store:put(run.run_id, { user_id = "bob" }))
      assert.same({ 0, 0, 0 }, counts { user_id = "ada" })
      assert.same({ 1, 1, 0 }, counts { user_id = "bob" })
      assert(store:put("later", { thread_id = "t", user_id = "bob", scheduled_at = 60, claimable = true }))
      assert.same({ 2, 2, 0 }, counts { user_id = "bob" })
      assert(manager:try_start(run.run_id))
      assert(manager:requeue(run.run_id))
      assert.same({ 2, 2, 0 }, counts { user_id = "bob" })
      assert.equal(run.run_id, manager:claim_next().run_id)
      assert.same({ 2, 1, 1 }, counts { user_id = "bob" })
      assert(manager:cancel(run.run_id))
      assert.is_true(store:get(run.run_id).finalizing)
      assert.same({ 1, 1, 0 }, counts { user_id = "bob" })
      assert(manager:settle(run.run_id))
      assert(store:delete "later")
      assert.same({ 0, 0, 0 }, counts { user_id = "bob" })
      assert.same({}, store:verify())
    end)

    it("counts the starts of a rate, and from then on they are kept for as long as it asks", function()
      local hour = { count = "started", rate = "api", per = 3600 }
      local function start()
        local run = assert(manager:create("t", { rates = { { name = "api", max = 100, per = 1 } } }))
        assert.equal("started", manager:try_start(run.run_id))
        assert(manager:set_status(run.run_id, "success"))
      end
      local told = { questions = { hour = hour } }
      assert(manager:create_or_reject("u", { strategy = say(told) }))
      assert.equal(0, told.read.hour)
      for _ = 1, 3 do
        start()
        clock.advance(1000)
      end
      assert.equal(3, count(hour))
      assert.equal(1, count { count = "started", rate = "api", per = 1000.5 })
      assert.equal(0, count { count = "started", rate = "api", per = 1000 }) -- exactly so long ago is over
      clock.advance(1000)
      assert.equal(2, count(hour))
      clock.advance(-2500)
      assert.equal(3, count(hour)) -- put back: what started, started
    end)

    it("decides by what it read, and dry_run tells that, too", function()
      assert(manager:create("elsewhere", { user_id = "ada" }))
      local quota = { reads = function(request)
        return { mine = { count = "inflight", user_id = request.user_id } }
      end, decide = function(_, _, read)
        return { admit = read.mine < 2, reason = read.mine .. " of 2" }
      end }
      local asked = { strategy = quota, user_id = "ada" }
      local dry = assert(manager:dry_run("t", asked))
      assert.same({ "created", "1 of 2", { mine = 1 } }, { dry.verdict, dry.reason, dry.read })
      assert(manager:create_or_reject("t", asked))
      local _, err = manager:create_or_reject("u", asked)
      assert.same({ "conflict", "2 of 2" }, { err.code, err.reason })
      assert(manager:create_or_reject("u", { strategy = quota, user_id = "bob" }))
      assert.equal("refused", manager:dry_run("u", asked).verdict)
    end)

    it("fails with a bad question as with a bad decision, and nothing is written", function()
      local before = #support.events(store)
      for question, problem in pairs { [{ count = "inflight", user = "7" }] = "did you mean 'user_id'",
        [{ count = "started", rate = "api" }] = "greater than 0 as per" } do
        local _, err = manager:create_or_reject("t", { strategy = say { questions = { mine = question } } })
        assert.equal("policy_failed", err.code)
        assert.matches("question 'mine' .*" .. problem, err.message)
        _, err = manager:dry_run("t", { strategy = say { questions = { mine = question } } })
        assert.equal("policy_failed", err.code)
      end
      local broken = { reads = function() error "no idea" end, decide = function() return { admit = true } end }
      support.refused("policy_failed", manager:create_or_reject("t", { strategy = broken }))
      assert.same({ before, 0 }, { #support.events(store), store:count_runs { count = "inflight" } })
    end)

    it("POLICY-13: is asked once, and what it does to the answers is not told as read", function()
      assert(manager:create("elsewhere", { user_id = "ada" }))
      local asked, decided = 0, 0
      local strategy = { reads = function()
        asked = asked + 1
        return { mine = { count = "inflight", user_id = "ada" } }
      end, decide = function(_, _, read)
        decided, read.mine = decided + 1, 99
        return { admit = true }
      end }
      assert.same({ mine = 1 }, assert(manager:dry_run("t", { strategy = strategy })).read)
      asked, decided = 0, 0
      assert(manager:create_or_reject("t", { strategy = strategy }))
      assert.same({ 1, 1 }, { asked, decided })
    end)

    it("has another version when it reads otherwise", function()
      local decide = function() return { admit = true } end
      local function version(thread_id, reads)
        assert(manager:create_or_reject(thread_id, { strategy = { reads = reads, decide = decide } }))
        local events = support.events(store)
        return events[#events].data.strategy_version
      end
      local one = version("t", function() return {} end)
      assert.not_equal(one, version("u", function()
        return {}
      end))
    end)

    it("leaves it to the fallback when it cannot ask", function()
      local path = support.dir() .. "/fallback.lua"
      require("support.files").write(path, [[
        return { reads = function() return { all = { count = "inflight" } } end,
          decide = function(_, _, read) return { admit = true, reason = "there are " .. read.all } end }]])
      assert(manager:create "u")
      local falls = support.manager(store, { fallback_strategy = assert(require("keel").load_policy(path)) })
      local run = assert(falls:create_or_reject("t", { strategy = say { questions = 5 } }))
      local data = support.events(store, { run_id = run.run_id })[1].data
      assert.same({ "fallback", "there are 1", "custom" }, { data.strategy, data.reason, data.fallback_for.strategy })
    end)

    it("may itself be the fallback, as a table, and is checked when the manager is made", function()
      local reading = { reads = function() return { all = { count = "inflight" } } end, decide = function(_, _, read)
        return { admit = true, reason = "there are " .. read.all }
      end }
      local falls = support.manager(store, { fallback_strategy = reading })
      local run = assert(falls:create_or_reject("t", { strategy = function() error "no idea" end }))
      assert.equal("there are 0", support.events(store, { run_id = run.run_id })[1].data.reason)
      for _, name in ipairs { "strategy", "fallback_strategy" } do
        local ok, err = pcall(require("keel").run_manager, { store = store, [name] = { reads = print } })
        assert.is_false(ok)
        assert.matches(("option '%s' must be a table with the function 'decide'"):format(name), err, 1, true)
      end
    end)

    it("decides over occurrences of schedules, too", function()
      local told = { questions = { all = { count = "inflight" } } }
      local ticking = support.manager(store, { strategies = { told = say(told) } })
      assert(manager:create "t")
      assert(ticking:schedule("often", { every = 60, options = { strategy = "told" } }))
      clock.advance(60)
      assert.equal(1, #ticking:tick().scheduled)
      assert.equal(1, told.read.all)
    end)

    it("says what is wrong with a question to the store", function()
      support.invalid("count", store:count_runs { count = "ended" })
      support.invalid("rate", store:count_runs { count = "running", rate = "api" })
      support.invalid("per", store:count_runs { count = "started", rate = "api" })
      support.invalid("user_id", store:count_runs { count = "running", user_id = "" })
      support.invalid("thread_id", store:count_runs { count = "running", slot = "gpu", thread_id = "t" })
    end)

    it("does not count runs of machines for users, handlers and batches", function()
      local dispatcher = require("keel").dispatcher { store = store }
      assert(dispatcher:prepare_atomic("m", "h", function() return { test_dir = "/srv", batch_id = "b" } end))
      assert.same({ 0, 0, 0 }, counts { batch_id = "b" })
      assert.same({ 1, 1, 0 }, counts {})
      assert.same({}, store:verify())
    end)
  end)

  describe("a decision with slots and rates", function()
    local store, manager
    before_each(function() store, manager = support.managed(open) end)
    local user = { name = "user:7", max = 1 }
    local api = { name = "api", max = 9, per = 60 }
    local function decide(decision) return function() return decision end end

    it("gives them to the newcomer, beside those of the caller", function()
      local asked = { strategy = decide { admit = true, slots = { user }, rates = { api } },
        slots = { { name = "gpu", max = 2 } } }
      local dry = assert(manager:dry_run("t", asked))
      assert.same({ { { name = "gpu", max = 2 }, user }, { api } }, { dry.slots, dry.rates })
      local runs = {}
      for i = 1, 2 do runs[i] = assert(manager:create_or_reject("t" .. i, asked)) end
      assert.same({ { { name = "gpu", max = 2 }, user }, { api } }, { runs[1].slots, runs[1].rates })
      assert.same({ { { name = "gpu", max = 2 }, user }, { api } }, { store:get(runs[2].run_id).slots, runs[2].rates })
      assert.equal("started", manager:try_start(runs[1].run_id))
      assert.equal("waiting", manager:try_start(runs[2].run_id))
      assert.same({ "slot", "user:7" }, { manager:explain(runs[2].run_id).waits_for,
        manager:explain(runs[2].run_id).name })
      assert.same({}, store:verify())
    end)

    it("POLICY-13: is asked once for the next newcomer, when one has got some", function()
      local calls = 0
      local function strategy()
        calls = calls + 1
        return { admit = true, slots = { user } }
      end
      assert(manager:create_or_reject("t1", { strategy = strategy }))
      calls = 0
      assert(manager:create_or_reject("t2", { strategy = strategy }))
      assert.equal(1, calls)
    end)

    it("gives what it says of a name, whatever the caller said of it", function()
      local run = assert(manager:create_or_reject("t", { slots = { { name = "a", max = 5 }, { name = "b", max = 6 } },
        strategy = decide { admit = true, slots = { { name = "a", max = 1 } } } }))
      assert.same({ { name = "a", max = 1 }, { name = "b", max = 6 } }, run.slots)
      local mail = { name = "mail", max = 5, per = 60 }
      run = assert(manager:create_or_reject("t", { rates = { mail },
        strategy = decide { admit = true, rates = { api } } }))
      assert.same({ mail, api }, run.rates)
    end)

    it("may leave the numbers to what is set for the name", function()
      assert(store:set_limit("gpu", { max = 3 }))
      local run = assert(manager:create_or_reject("t", { strategy = decide { admit = true,
        slots = { { name = "gpu" } } } }))
      assert.same({ { name = "gpu", max = 3 } }, run.slots)
      support.invalid("slots", manager:create_or_reject("t", { strategy = decide { admit = true,
        slots = { { name = "tpu" } } } }))
    end)

    it("fails when they are none", function()
      local _, err = manager:create_or_reject("t", { strategy = decide { admit = true,
        slots = { { name = "a", max = 1.5 } } } })
      assert.equal("policy_failed", err.code)
      assert.equal(0, store:count_runs { count = "inflight" })
    end)

    it("leaves what the caller said wrong to the caller: no strategy is asked, and no fallback", function()
      local asked = 0
      local function strategy()
        asked = asked + 1
        return { admit = true, slots = { user }, rates = { api } }
      end
      manager = support.manager(store, { fallback_strategy = "allow" })
      for field, wrong in pairs { slots = { "gpu" }, rates = { { name = "api", max = 1, per = 0 } } } do
        local err = support.invalid(field, manager:create_or_reject("t", { [field] = wrong, strategy = strategy }))
        assert.matches(field .. "[1]", err.message, 1, true)
        support.invalid(field, manager:dry_run("t", { [field] = wrong, strategy = strategy }))
      end
      assert.equal(0, asked)
      local eight = {}
      for i = 1, 8 do eight[i] = { name = "s" .. i, max = 1 } end
      local err = support.invalid("slots", manager:create_or_reject("t", { slots = eight, strategy = strategy }))
      assert.matches("more than 8 entries, with those of the strategy", err.message)
      assert.equal(0, store:count_runs { count = "inflight" })
    end)

    it("may be of none, as a caller's may", function()
      local run = assert(manager:create_or_reject("t", { slots = {}, rates = { api },
        strategy = decide { admit = true, slots = {}, rates = {} } }))
      assert.same({ nil, { api } }, { run.slots, run.rates })
    end)

    it("may have them from idle", function()
      local strategy = { idle = { admit = true, slots = { user } }, decide = decide { admit = false } }
      assert.same({ user }, manager:create_or_reject("t", { strategy = strategy }).slots)
      support.refused("conflict", manager:create_or_reject("t", { strategy = strategy }))
      strategy = { idle = { admit = true, rates = { api } }, decide = decide { admit = false } }
      assert.same({ api }, manager:create_or_reject("u", { strategy = strategy }).rates)
    end)
  end)
end)

--- Processes that admit for one user, each on a thread of its own, under a quota of three.
local ADMITTER = [[
  local place, thread = ...
  local manager = keel.run_manager { store = assert(keel.open(place)) }
  local quota = { reads = function(request)
    return { mine = { count = "inflight", user_id = request.user_id } }
  end, decide = function(_, _, read) return { admit = read.mine < 3 } end }
  say "ready" hear()
  local admitted = 0
  for _ = 1, 4 do
    local run, err = manager:create_or_reject(thread, { strategy = quota, user_id = "ada" })
    if run then admitted = admitted + 1 else assert(err.code == "conflict", tostring(err)) end
  end
  say(admitted)
  hear()
]]

support.each_shared("Processes whose strategy asks the same", function(place)
  it("POLICY-13: come one after the other, whatever threads they are on", function()
    local path, children = place(), {}
    local store = support.open(path)
    for i = 1, 5 do children[i] = support.spawn(ADMITTER, { path, "t" .. i }) end
    for _, child in ipairs(children) do child:expect "ready" end
    for _, child in ipairs(children) do child:say "go" end
    local admitted = 0
    for _, child in ipairs(children) do admitted = admitted + math.tointeger(child:hear()) end
    assert.equal(3, admitted)
    assert.equal(3, store:count_runs { count = "inflight", user_id = "ada" })
    assert.same({}, store:verify())
    for _, child in ipairs(children) do
      child:say "end"
      child:finish()
    end
  end)
end)
