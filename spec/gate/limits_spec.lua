--- Slots, rates and pauses: what runs of all threads share.
local keel = require "keel"
local support = require "support"

support.each_store(function(open)
  describe("A run that wants slots or rates", function()
    local store, manager, clock
    before_each(function() store, manager, clock = support.managed(open) end)

    local function free(thread_id, options)
      options = options or {}
      options.claimable = true
      return assert(manager:create(thread_id, options))
    end
    local function gpu(max) return { { name = "gpu", max = max } } end
    local function claimed() return (assert(manager:claim_next())).run_id end
    local function none()
      local run, err = manager:claim_next()
      assert.is_nil(run)
      assert.is_nil(err)
    end
    local function finish(run_id) assert(manager:set_status(run_id, "success")) end

    it("GATE-2: starts while fewer than max with its name run or finalize, over all threads", function()
      local a, b, c = free("a", { slots = gpu(2) }), free("b", { slots = gpu(2) }), free("c", { slots = gpu(2) })
      assert.same({ a.run_id, b.run_id }, { claimed(), claimed() })
      none()
      assert(manager:cancel(a.run_id)) -- it has not come to rest
      none()
      assert(manager:settle(a.run_id))
      assert.equal(c.run_id, claimed())
      assert.same({ { name = "gpu", max = 2 } }, store:get(c.run_id).slots)
      assert.same({}, store:verify())
    end)

    it("GATE-2: is limited by its own max and by those of all who hold the name, not by who only waits", function()
      local wide = free("a", { slots = gpu(3) })
      free("b", { slots = gpu(1) })
      local third = free("c", { slots = gpu(3) })
      assert.equal(wide.run_id, claimed())
      assert.equal(third.run_id, claimed())
      none()
      finish(wide.run_id)
      none() -- the narrow one still has somebody beside it
      local fourth = free("d", { slots = gpu(3) })
      assert.equal(fourth.run_id, claimed())
    end)

    it("GATE-3: takes all of its slots or none, and holds up nobody who could start", function()
      local net = free("a", { slots = { { name = "net", max = 1 } } })
      assert.equal(net.run_id, claimed())
      free("b", { slots = { { name = "gpu", max = 1 }, { name = "net", max = 1 } }, priority = 5 })
      local other = free("c", { slots = gpu(1) })
      assert.equal(other.run_id, claimed())
      none()
    end)

    it("GATE-5: goes by priority, then age, whatever its thread is", function()
      local first = free("a", { slots = gpu(1) })
      assert.equal(first.run_id, claimed())
      local old, urgent, older = free("b", { slots = gpu(1) }), free("c", { slots = gpu(1), priority = 1 }),
        free("d", { slots = gpu(1), concurrency = nil })
      finish(first.run_id)
      assert.equal(urgent.run_id, claimed())
      none()
      finish(urgent.run_id)
      assert.equal(old.run_id, claimed())
      finish(old.run_id)
      assert.equal(older.run_id, claimed())
    end)

    it("GATE-5: goes by priority, then age, whatever it waits for, whoever handles it", function()
      local kinds = {
        {}, { handler = "h" }, { concurrency = 1 }, { concurrency = 2, slots = gpu(99) }, { slots = gpu(50) },
        { rates = { { name = "mail", max = 99, per = 1 } } }, { slots = gpu(99), handler = "h" },
      }
      local expected = {}
      for priority = 0, 2 do expected[priority] = {} end
      for i = 1, 42 do
        local fields = { thread_id = "t" .. i, priority = i * 5 % 3, claimable = true }
        for name, value in pairs(kinds[i % #kinds + 1]) do fields[name] = value end
        assert(store:put("r" .. i, fields))
        table.insert(expected[fields.priority], "r" .. i)
      end
      for priority = 2, 0, -1 do
        for _, run_id in ipairs(expected[priority]) do assert.equal(run_id, claimed()) end
      end
      none()
    end)

    it("GATE-1: that is not due holds no other up", function()
      local later = free("a", { slots = gpu(1), scheduled_at = 60, priority = 9 })
      local now = free("b", { slots = gpu(1) })
      assert.equal(now.run_id, claimed())
      finish(now.run_id)
      none()
      clock.advance(60)
      assert.equal(later.run_id, claimed())
    end)

    it("GATE-3: that is blocked holds up nobody on its own thread either, unless that one is strict", function()
      assert.equal(free("x", { slots = gpu(1) }).run_id, claimed())
      assert(manager:create_or_reject("t", { multitask_strategy = "enqueue", slots = gpu(1), claimable = true }))
      local strict = assert(manager:create_or_reject("t", { multitask_strategy = "enqueue", claimable = true,
        strategy_options = { strict = true } }))
      assert.equal("queue", store:gate(strict.run_id).gate)
      local plain = assert(manager:create_or_reject("t", { multitask_strategy = "enqueue" }))
      assert.equal("waiting", manager:try_start(plain.run_id)) -- the strict one wants nothing but the thread
      assert(manager:cancel(strict.run_id))
      assert.equal("started", manager:try_start(plain.run_id))
    end)

    it("GATE-6: follows a limit that is changed while runs wait and run", function()
      local runs = {}
      for i = 1, 5 do runs[i] = free("t" .. i, { slots = gpu(1) }) end
      assert.equal(runs[1].run_id, claimed())
      none()
      assert(manager:set_limit("gpu", { max = 3 }))
      assert.same({ runs[2].run_id, runs[3].run_id }, { claimed(), claimed() })
      none()
      assert(manager:set_limit("gpu", { max = 1 }))
      finish(runs[1].run_id)
      finish(runs[2].run_id)
      none()
      assert.equal("running", store:get(runs[3].run_id).status)
      finish(runs[3].run_id)
      assert.equal(runs[4].run_id, claimed())
      assert(manager:set_limit("gpu", { max = 4, reason = "more" }))
      assert(manager:set_limit("gpu", { max = keel.null, reason = keel.null }))
      none()
      assert.same({ { name = "gpu", paused = false, holding = 1, waiting = 1 } }, manager:limits())
    end)

    it("GATE-7: does not start while a name of it, its thread or everything is paused", function()
      for _, name in ipairs { "gpu", "thread:t", "*" } do
        local run, owned = free("t", { slots = gpu(9) }), assert(manager:create("t", { slots = gpu(9) }))
        assert(manager:pause(name, { reason = "repairs" }))
        none()
        assert.equal("waiting", manager:try_start(owned.run_id))
        local gate = store:gate(run.run_id)
        assert.same({ "paused", name }, { gate.gate, gate.name })
        assert.matches("is paused", manager:explain(run.run_id).reason)
        assert(manager:resume(name))
        assert.equal("started", manager:try_start(owned.run_id))
        assert.equal(run.run_id, claimed())
        assert.same({}, store:verify())
      end
    end)

    it("GATE-7: that wants nothing is paused with its thread, also if it waited before, and others are not", function()
      local before = free "t"
      assert(manager:pause "thread:t")
      local after, handled = free "t", free("t", { handler = "h" })
      local other = free "u"
      assert.equal(other.run_id, claimed())
      none()
      assert.is_nil((manager:claim_next { threads = { "t" } }))
      assert.same({}, store:verify())
      assert(manager:resume "thread:t")
      assert.same({ before.run_id, after.run_id, handled.run_id }, { claimed(), claimed(), claimed() })
      assert.same({}, store:verify())
    end)

    it("GATE-7: what runs goes on, and limits() tells of the pause", function()
      local run = free("a", { slots = gpu(1) })
      assert.equal(run.run_id, claimed())
      free("b", { slots = gpu(1) })
      assert(manager:pause("gpu", { reason = "repairs" }))
      assert.equal("running", store:get(run.run_id).status)
      assert.same({ { name = "gpu", paused = true, reason = "repairs", holding = 1, waiting = 1 } }, manager:limits())
      assert(manager:set_limit("mail", { max = 3, per = 60 }))
      assert(manager:pause "thread:a")
      assert.same({ { name = "mail", max = 3, per = 60, paused = false, holding = 0, waiting = 0 },
        { name = "thread:a", paused = true, holding = 1, waiting = 0 } }, manager:limits { after = "gpu" })
      local kinds = support.pluck(support.events(store, { kinds = { "limit_changed" } }), "data")
      assert.same({ "gpu", true, "repairs" }, { kinds[1].name, kinds[1].paused, kinds[1].reason })
      assert.same({ 3, 60.0 }, { kinds[2].max, kinds[2].per })
    end)

    it("GATE-8: starts no more often than its rate allows, and again exactly when the window has passed", function()
      local mail = { { name = "mail", max = 2, per = 10 } }
      for i = 1, 5 do free("t" .. i, { rates = mail }) end
      finish(claimed())
      clock.advance(4)
      finish(claimed())
      none()
      assert.equal(6, manager:next_due())
      local waiting = store:list_inflight { limit = 1 }[1]
      local answer = manager:explain(waiting.run_id)
      assert.same({ "rate", "mail", "2026-01-01T00:00:10+00:00" },
        { answer.waits_for, answer.name, answer.startable_at })
      clock.advance(5.999)
      none()
      clock.advance(0.001)
      finish(claimed())
      none()
      clock.advance(4)
      finish(claimed())
      none()
    end)

    it("GATE-8: a clock that is put back lets nothing too many through, and makes it wait for per at most", function()
      local mail = { { name = "mail", max = 1, per = 10 } }
      for i = 1, 3 do free("t" .. i, { rates = mail }) end
      finish(claimed())
      clock.advance(-3600)
      none()
      assert.equal(10, manager:next_due())
      clock.advance(10)
      finish(claimed())
      none()
    end)

    it("GATE-8: an owned run of a rate waits for per at most, too, when the clock is put back", function()
      local mail = { { name = "mail", max = 1, per = 10 } }
      local first = assert(manager:create("a", { rates = mail }))
      assert.equal("started", manager:try_start(first.run_id))
      local second = assert(manager:create("b", { rates = mail }))
      clock.advance(-3600)
      assert.equal("waiting", manager:try_start(second.run_id))
      clock.advance(9)
      assert.equal("waiting", manager:try_start(second.run_id))
      clock.advance(1)
      assert.equal("started", manager:try_start(second.run_id))
    end)

    it("GATE-8: counts the starts of one that takes the place of another that was deleted", function()
      local mail = { { name = "mail", max = 3, per = 10 } }
      for _ = 1, 3 do
        local run = free("a", { rates = mail })
        assert.equal(run.run_id, claimed())
        assert(manager:delete(run.run_id))
      end
      free("a", { rates = mail })
      none()
      clock.advance(10)
      assert(claimed())
    end)

    it("GATE-9: leaves its slots when it is given back, taken over or deleted, and its starts count", function()
      local mail = { { name = "mail", max = 2, per = 10 } }
      local run = free("a", { slots = gpu(1), rates = mail })
      assert.equal(run.run_id, claimed())
      assert(manager:requeue(run.run_id, { delay = 60 }))
      local other = free("b", { slots = gpu(1) })
      assert.equal(other.run_id, claimed())
      assert(manager:delete(other.run_id))
      local third = free("c", { slots = gpu(1), rates = mail })
      assert.equal(third.run_id, claimed())
      finish(third.run_id)
      free("d", { rates = mail })
      none() -- the start that was given back counts
      assert.same({}, store:verify())
    end)

    it("GATE-12: is explained with all that is in its way, in the order of the gate", function()
      local holder = free("t", { slots = gpu(1), rates = { { name = "mail", max = 1, per = 60 } } })
      assert.equal(holder.run_id, claimed())
      assert(manager:pause("*"))
      local run = assert(manager:create_or_reject("t", { multitask_strategy = "enqueue", slots = gpu(1),
        rates = { { name = "mail", max = 1, per = 60 } }, scheduled_at = 30 }))
      local answer = manager:explain(run.run_id)
      assert.same({ "delay", "concurrency", "slot", "rate", "paused" }, support.pluck(answer.reasons, "waits_for"))
      assert.same({ "2026-01-01T00:00:30+00:00", nil, nil, "2026-01-01T00:01:00+00:00", nil },
        { answer.reasons[1].startable_at, nil, nil, answer.reasons[4].startable_at, nil })
      assert.same({ holder.run_id, "gpu" }, { answer.reasons[3].run_id, answer.reasons[3].name })
      assert.equal("*", answer.reasons[5].name)
    end)

    it("GATE-3: whose time is over holds up nobody who wants the same, before or behind it", function()
      free("a", { slots = gpu(9), deadline = 5 })
      local second = free("b", { slots = gpu(9) })
      clock.advance(6)
      assert.equal(second.run_id, claimed())
      none()
      local third = free("c", { slots = gpu(9) })
      assert.equal(third.run_id, claimed())
      none()
    end)

    it("GATE-3: whose time is over on a paused thread holds up nobody who comes behind it", function()
      free("t", { deadline = 5 })
      assert(manager:pause "thread:t")
      clock.advance(6)
      none()
      local second = free "t"
      none()
      assert(manager:resume "thread:t")
      assert.equal(second.run_id, claimed())
    end)

    it("GATE-8: of a rate that is paused makes nobody look before it is resumed", function()
      local mail = { { name = "mail", max = 2, per = 10 } }
      local run = free("a", { rates = mail })
      assert(manager:pause "mail")
      none()
      assert(manager:set_limit("mail", { reason = "looked at" }))
      assert.is_nil(manager:next_due())
      assert(manager:resume "mail")
      assert.equal(run.run_id, claimed())
    end)

    it("GATE-2: can be put again as it is, whatever has become of it", function()
      local owned = { slots = gpu(9), rates = { { name = "mail", max = 9, per = 10 } } }
      local run = assert(manager:create("t", owned))
      local function again() return store:put(run.run_id, store:get(run.run_id)) end
      assert(again())
      assert.equal("started", manager:try_start(run.run_id))
      assert(again())
      assert(manager:cancel(run.run_id))
      assert.is_true(store:get(run.run_id).finalizing)
      assert(again())
      assert(manager:settle(run.run_id))
      assert(again())
      assert.equal("interrupted", store:get(run.run_id).status)
      assert.same({}, store:verify())
    end)

    it("GATE-2: cannot be started past the gate", function()
      local run = assert(manager:create("t", { slots = gpu(1) }))
      local err = support.refused("invalid_transition", manager:set_status(run.run_id, "running"))
      assert.same({ "pending", "running" }, { err.from, err.to })
      support.refused("invalid_transition", store:put(run.run_id, { status = "running" }))
      support.refused("invalid_transition", store:put("new", { thread_id = "t", status = "running", slots = gpu(1) }))
      support.invalid("slots", store:put(run.run_id, { slots = gpu(2) }))
      assert.equal("started", manager:try_start(run.run_id))
    end)

    it("GATE-2: takes its numbers from what is set for a name, where it has none of its own", function()
      support.invalid("slots", manager:create("t", { slots = { { name = "gpu" } } }))
      assert(manager:set_limit("gpu", { max = 4 }))
      assert(manager:set_limit("mail", { max = 5, per = 2.5 }))
      local run = assert(manager:create("t", { slots = { { name = "gpu" } }, rates = { { name = "mail" } } }))
      assert.same({ { name = "gpu", max = 4 } }, store:get(run.run_id).slots)
      assert.same({ { name = "mail", max = 5, per = 2.5 } }, store:get(run.run_id).rates)
      support.invalid("rates", manager:create("t", { rates = { { name = "gpu" } } }))
    end)

    it("GATE-2: is refused with a list that has holes", function()
      local one = { name = "a", max = 1, per = 1 }
      for field, entry in pairs { slots = { name = "a", max = 1 }, rates = one, after = "r" } do
        for _, list in ipairs { { [2] = entry }, { entry, [3] = entry }, { entry, x = entry } } do
          assert.matches("list", support.invalid(field, manager:create("t", { [field] = list })).message)
        end
      end
      assert.equal(0, #support.events(store))
    end)

    for what, slots in pairs {
      ["without a name"] = { { max = 1 } },
      ["with an empty name"] = { { name = "", max = 1 } },
      ["with a max below 0"] = { { name = "a", max = 1 }, { name = "b", max = -1 } },
      ["with a max above 10000"] = { { name = "b", max = 10001 } },
      ["with half a max"] = { { name = "b", max = 1.5 } },
      ["with a text as max"] = { { name = "b", max = "1" } },
      ["that is no table"] = { "gpu" },
      ["with a field too many"] = { { name = "gpu", max = 1, per = 5 } },
      ["of a name twice"] = { { name = "a", max = 1 }, { name = "a", max = 2 } },
      ["of a thread"] = { { name = "thread:t", max = 1 } },
      ["of everything"] = { { name = "*", max = 1 } },
      ["with a line break in its name"] = { { name = "a\nb", max = 1 } },
    } do
      it("GATE-2: is refused with a slot " .. what .. ", by field and place, and nothing is written", function()
        local err = support.invalid("slots", manager:create("t", { slots = slots }))
        assert.matches(("slots[%d]"):format(#slots), err.message, 1, true)
        assert.equal(0, #support.events(store))
      end)
    end

    it("GATE-2: is refused with more than eight slots", function()
      local slots = {}
      for i = 1, 9 do slots[i] = { name = "s" .. i, max = 1 } end
      support.invalid("slots", manager:create("t", { slots = slots }))
      slots[9] = nil
      assert(manager:create("t", { slots = slots }))
    end)

    for what, rate in pairs { ["0 seconds"] = { name = "m", max = 1, per = 0 }, ["-1 second"] = { name = "m", max = 1,
      per = -1 }, ["no seconds"] = { name = "m", max = 1 } } do
      it("GATE-8: is refused with a rate over " .. what, function()
        local err = support.invalid("rates", manager:create("t", { rates = { rate } }))
        assert.matches("rates[1].per", err.message, 1, true)
      end)
    end

    it("GATE-6: set_limit refuses what cannot be", function()
      support.invalid("max", manager:set_limit("gpu", { max = -1 }))
      support.invalid("max", manager:set_limit("gpu", { max = 10001 }))
      support.invalid("per", manager:set_limit("gpu", { max = 1, per = 0 }))
      support.invalid("max", manager:set_limit("gpu", { per = 5 }))
      assert(manager:set_limit("mail", { max = 1, per = 5 }))
      support.invalid("max", manager:set_limit("mail", { max = keel.null }))
      assert(manager:set_limit("mail", { max = keel.null, per = keel.null }))
      support.invalid("max", manager:set_limit("*", { max = 1 }))
      support.invalid("max", manager:set_limit("thread:t", { max = 1 }))
      support.invalid("name", manager:set_limit("", { max = 1 }))
      support.invalid("name", manager:pause "thread:")
      support.raises("maximum", manager.set_limit, manager, "gpu", { maximum = 1 })
      assert(manager:set_limit("nobody uses it", { max = 1 }))
    end)
  end)
end)

describe("[#sqlite] What is kept of slots and rates", function()
  after_each(support.clean_up)

  local path, store, clock
  before_each(function()
    path, clock = support.path(), support.clock()
    store = support.open(path, { durability = "off", clock = clock.read })
  end)

  -- What sqlite3 says, nil when there is none.
  local function ask(sql)
    local sqlite <close> = assert(io.popen(("sqlite3 '%s' \"%s\" 2>&1"):format(path, sql)))
    local said = sqlite:read "l"
    return said and not said:find "not found" and said or nil
  end
  local function counts()
    return ask "SELECT (SELECT count(*) FROM starts) || ' ' || (SELECT count(*) FROM windows)"
  end
  local function start(name, per)
    assert(store:put(name, { thread_id = name, claimable = true, rates = { { name = name, max = 9, per = per } } }))
    assert.equal(name, assert(store:claim_next()).run_id)
    assert(store:update_status(name, "success"))
  end

  it("GATE-8: goes with the ticks when nobody counts it any more", function()
    local manager = support.manager(store)
    for i = 1, 100 do start("r" .. i, 10) end
    if not counts() then return pending "there is no sqlite3 to look with" end
    assert.equal("100 100", counts())
    clock.advance(9)
    for _ = 1, 3 do assert(manager:tick()) end
    assert.equal("100 100", counts())
    clock.advance(1)
    for _ = 1, 3 do assert(manager:tick()) end
    assert.equal("0 0", counts())
    start("r101", 10)
    assert.equal("1 1", counts())
  end)

  it("GATE-8: stays as long as somebody waits for it, and goes with a tick when it is out of its window", function()
    local manager = support.manager(store)
    start("short", 10)
    start("long", 100)
    assert(store:put("next", { thread_id = "t", claimable = true, rates = { { name = "short", max = 1, per = 20 } } }))
    clock.advance(15)
    if not counts() then return pending "there is no sqlite3 to look with" end
    assert(manager:tick())
    assert.equal("2 2", counts())
    assert.is_nil((store:claim_next()))
    clock.advance(5)
    assert(manager:tick())
    assert.equal("1 2", counts())
    assert.equal("next", assert(store:claim_next()).run_id)
  end)

  it("GATE-8: stays for the window that is set for the name, where that is longer", function()
    local manager = support.manager(store)
    assert(manager:set_limit("r1", { max = 1, per = 100 }))
    start("r1", 10)
    assert(store:put("next", { thread_id = "t", claimable = true, rates = { { name = "r1", max = 9, per = 10 } } }))
    clock.advance(50)
    for _ = 1, 3 do assert(manager:tick()) end
    assert.is_nil((store:claim_next()))
    clock.advance(50)
    assert.equal("next", assert(store:claim_next()).run_id)
  end)

  it("GATE-8: of how long to keep it stays as long as somebody waits who wants to count it, and goes then", function()
    local manager = support.manager(store)
    assert(store:put("waits", { thread_id = "t", claimable = true, rates = { { name = "mail", max = 9, per = 10 } } }))
    if not counts() then return pending "there is no sqlite3 to look with" end
    for _ = 1, 3 do assert(manager:tick()) end
    assert.equal("0 1", counts())
    assert(store:delete "waits")
    for _ = 1, 3 do assert(manager:tick()) end
    assert.equal("0 0", counts())
  end)

  for what, sql in pairs {
    ["holds less than nothing"] = "UPDATE holds SET max = -5",
    ["has a limit below nothing"] = "INSERT INTO limits (name, max, paused) VALUES ('gpu', -5, 0)",
    ["wants less than nothing"] = "UPDATE runs SET slots = '-7 gpu' WHERE run_id = 'b'",
    ["wants no number"] = "UPDATE runs SET slots = 'many gpu' WHERE run_id = 'b'",
  } do
    it("GATE-2: is store_corrupt where a row " .. what, function()
      local gpu = { { name = "gpu", max = 5 } }
      assert(store:put("a", { thread_id = "a", claimable = true, slots = gpu }))
      assert.equal("a", assert(store:claim_next()).run_id)
      assert(store:put("b", { thread_id = "b", claimable = true, slots = gpu }))
      if not ask "SELECT 1" then return pending "there is no sqlite3 to do damage with" end
      ask(sql)
      support.refused("store_corrupt", store:gate "b")
      support.refused("store_corrupt", store:claim_next())
    end)
  end
end)

describe("[#sqlite] Slots among processes", function()
  after_each(support.clean_up)

  it("GATE-2: GATE-9: never more than max hold a slot, and one that is killed leaves its place", function()
    local path = support.path()
    local store = support.open(path, { durability = "off" })
    for i = 1, 5 do
      assert(store:put("r" .. i, { thread_id = "t" .. i, claimable = true, slots = { { name = "gpu", max = 2 } } }))
    end
    local child = support.spawn([[
      local store = assert(keel.open((...), { durability = "off" }))
      say(assert(store:claim_next()).run_id)
      say(assert(store:claim_next()).run_id)
      say(tostring((store:claim_next())))
      hear()
    ]], { path })
    assert.same({ "r1", "r2", "nil" }, { child:hear(), child:hear(), child:hear() })
    assert.is_nil((store:claim_next()))
    child:kill()
    local manager = support.manager(store)
    assert(manager:tick())
    assert.equal("r1", assert(store:claim_next()).run_id)
    assert.equal("r2", assert(store:claim_next()).run_id)
    assert.is_nil((store:claim_next()))
    assert.same({}, store:verify())
  end)
end)
