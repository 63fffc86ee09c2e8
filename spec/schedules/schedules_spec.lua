--- Schedules: rows that make runs, by the ticks of any process.
local keel = require "keel"
local support = require "support"

local START = 1767225600 -- 2026-01-01T00:00:00Z, a Thursday
local DAY = 86400

local function at(seconds) return keel.seconds(seconds) end

support.each_store(function(open) describe("(sound afterwards)", function()
  local clock, store, runs, log, lines

  local function manager(options)
    local given = { log = log }
    for name, value in pairs(options or {}) do given[name] = value end
    return support.manager(store, given)
  end

  before_each(function()
    clock = support.clock(START)
    store = open { clock = clock.read, durability = "off" }
    log, lines = support.log()
    runs = manager()
  end)

  local function made(name)
    local list, page = {}, nil
    repeat
      page = assert(store:list_runs { limit = 1000, after = page and page[#page].run_id })
      for _, run in ipairs(page) do
        if run.schedule == (name or "s") then table.insert(list, 1, run) end
      end
    until #page < 1000
    return list
  end

  -- The occurrences whose runs were made, in seconds after the start.
  local function times(name)
    local list = {}
    for i, run in ipairs(made(name)) do list[i] = math.tointeger(at(run.scheduled_at) - START) end
    return list
  end

  local function tick(times_)
    local report
    for _ = 1, times_ or 1 do report = assert(runs:tick()) end
    return report
  end

  after_each(function() assert.same({}, store:verify()) end)

  describe("A schedule", function()
    it("makes its first run at its first occurrence after it was made, and each later one", function()
      local made_of = assert(runs:schedule("s", { every = 300, thread_id = "t", options = { handler = "report",
        kwargs = { n = 1 }, priority = 3, multitask_strategy = "allow" } }))
      assert.equal("2026-01-01T00:05:00+00:00", made_of.next_at)
      assert.is_nil(made_of.last_at)
      tick()
      assert.same({}, made())
      clock.advance(300)
      local report = tick()
      assert.equal(1, #report.scheduled)
      local run = made()[1]
      assert.equal(run.run_id, report.scheduled[1].run_id)
      assert.same({ "t", "s", "report", 1, 3, true, "pending" }, { run.thread_id, run.schedule, run.handler,
        run.kwargs.n, run.priority, run.claimable, run.status })
      assert.equal("2026-01-01T00:05:00+00:00", run.scheduled_at)
      tick(3)
      clock.advance(299)
      tick()
      assert.same({ 300 }, times())
      clock.advance(1)
      tick()
      assert.same({ 300, 600 }, times())
      assert.equal("2026-01-01T00:10:00+00:00", runs:schedules()[1].last_at)
    end)

    it("has runs that anybody may claim, on a thread of its name unless it is given one", function()
      assert(runs:schedule("s", { cron = "*/5 * * * *" }))
      clock.advance(300)
      tick()
      local other = manager()
      assert.equal("s", assert(other:claim_next()).thread_id)
    end)

    it("says in the event what made the run, and for when", function()
      assert(runs:schedule("s", { every = 60 }))
      clock.advance(60)
      tick()
      local event = support.events(store, { kinds = { "run_created" } })[1]
      assert.same({ "s", "2026-01-01T00:01:00+00:00", "reject" },
        { event.data.schedule, event.data.occurrence, event.data.strategy })
    end)

    it("counts numbers from the occurrence", function()
      assert(runs:schedule("s", { every = 60, options = { deadline = 30, scheduled_at = 10 } }))
      clock.advance(75)
      tick()
      local run = made()[1]
      assert.same({ "2026-01-01T00:01:30+00:00", "2026-01-01T00:01:10+00:00" }, { run.deadline, run.scheduled_at })
    end)

    it("is told by schedules() as it was given", function()
      assert(runs:schedule("b", { cron = "0 3 * * *", timezone = "Europe/Berlin", missed = "skip", grace = 5 }))
      assert(runs:schedule("a", { every = 5, options = { metadata = { x = { 1, 2 } } } }))
      local list = assert(runs:schedules())
      assert.same({ "a", "b" }, support.pluck(list, "name"))
      assert.same({ 5, { x = keel.array { 1, 2 } }, "once", 60 }, { list[1].every, list[1].options.metadata,
        list[1].missed, list[1].grace })
      assert.same({ "0 3 * * *", "Europe/Berlin", "skip", 5, "2026-01-01T02:00:00+00:00" }, { list[2].cron,
        list[2].timezone, list[2].missed, list[2].grace, list[2].next_at })
    end)

    it("happens by its zone", function()
      assert(runs:schedule("s", { cron = "30 0 * * *", timezone = "Asia/Tokyo" }))
      clock.advance(15.5 * 3600)
      tick()
      assert.same({ 15.5 * 3600 | 0 }, times())
    end)

    it("leaves an event when it is made, changed and removed, and none when it is not", function()
      assert(runs:schedule("s", { every = 60 }))
      assert(runs:schedule("s", { every = 60 }))
      clock.advance(60)
      tick()
      assert(runs:schedule("s", { every = 61 }))
      assert.is_true(runs:unschedule "s")
      assert.is_false(runs:unschedule "s")
      local events = support.events(store, { kinds = { "schedule_changed" } })
      assert.equal(3, #events)
      assert.same({ schedule = "s" }, events[1].data)
      assert.same({ schedule = "s", removed = true }, events[3].data)
    end)

    it("is kept by the store: whoever ticks makes its runs", function()
      assert(runs:schedule("s", { every = 60 }))
      local other = manager()
      clock.advance(60)
      assert(other:tick())
      assert.same({ 60 }, times())
      tick()
      assert.same({ 60 }, times())
    end)
  end)

  describe("SCHEDULE-2: `every`", function()
    it("counts from the last occurrence, not from the tick that was late", function()
      assert(runs:schedule("s", { every = 0.1, grace = 1000, options = { multitask_strategy = "allow" } }))
      for _ = 1, 10 do
        clock.advance(0.75)
        tick()
      end
      assert.equal(75, #made())
      assert.equal("2026-01-01T00:00:07.500000+00:00", made()[75].scheduled_at)
    end)
  end)

  describe("SCHEDULE-4: what is found after a month of sleep", function()
    it("is made once by `once`, for the newest", function()
      assert(runs:schedule("s", { cron = "0 3 * * *", options = { multitask_strategy = "allow" } }))
      clock.advance(30 * DAY)
      tick(3)
      assert.same({ 29 * DAY + 3 * 3600 }, times())
      clock.advance(3 * 3600)
      tick()
      assert.same({ 29 * DAY + 3 * 3600, 30 * DAY + 3 * 3600 }, times())
    end)

    it("is made once by `once` when the next one is due in time: that one stands for all", function()
      assert(runs:schedule("s", { every = 3600 }))
      clock.advance(30 * DAY)
      tick(3)
      assert.same({ 30 * DAY }, times())
    end)

    it("is not made by `skip`, which says so", function()
      assert(runs:schedule("s", { cron = "0 3 * * *", missed = "skip" }))
      clock.advance(30 * DAY)
      tick(3)
      assert.same({}, times())
      assert.truthy(lines[1].message:find("schedule s was due at 2026-01-01T03:00:00+00:00", 1, true))
      clock.advance(3 * 3600)
      tick()
      assert.same({ 30 * DAY + 3 * 3600 }, times())
    end)

    it("is made by `all`, at most the newest 1000, in steps, which says so", function()
      assert(runs:schedule("s", { every = 600, missed = "all", options = { multitask_strategy = "allow" } }))
      clock.advance(30 * DAY + 1)
      local ticks = 0
      repeat
        local before = #made()
        tick()
        ticks = ticks + 1
        if runs:next_due() == 0 then assert.is_true(#made() > before) end
      until runs:next_due() ~= 0
      assert.is_true(ticks > 1 and ticks < 10, ticks)
      local list = times()
      assert.equal(1000, #list)
      assert.same({ 30 * DAY - 999 * 600, 30 * DAY }, { list[1], list[1000] })
      assert.truthy(lines[1].message:find "was missed: it goes on at")
    end)

    it("is one by one what it was by `all` when there are few", function()
      assert(runs:schedule("s", { cron = "0 3 * * *", missed = "all", options = { multitask_strategy = "allow" } }))
      clock.advance(3 * DAY)
      tick()
      assert.same({ 3 * 3600, DAY + 3 * 3600, 2 * DAY + 3 * 3600 }, times())
    end)

    it("counts as missed when it is found more than `grace` late, not earlier", function()
      for _, mode in ipairs { "skip", "once" } do
        assert(runs:schedule(mode, { every = 100, missed = mode, grace = 20,
          options = { multitask_strategy = "allow" } }))
      end
      clock.advance(120)
      tick()
      assert.same({ 100 }, times "skip")
      assert.same({ 100 }, times "once")
      clock.advance(100.5)
      tick()
      assert.same({ 100 }, times "skip")
      assert.same({ 100, 200 }, times "once")
    end)
  end)

  describe("SCHEDULE-5: an occurrence that finds the last one running is decided by its strategy:", function()
    local function twice(strategy)
      assert(runs:schedule("s", { every = 60, options = { multitask_strategy = strategy } }))
      clock.advance(60)
      tick()
      assert.equal("started", runs:claim_next() and "started")
      clock.advance(60)
      tick()
    end

    it("`reject` leaves an event, which uses it up", function()
      twice "reject"
      assert.same({ 60 }, times())
      local events = support.events(store, { kinds = { "run_rejected" } })
      assert.equal(1, #events)
      assert.same({ "s", "2026-01-01T00:02:00+00:00" }, { events[1].data.schedule, events[1].data.occurrence })
      tick(2)
      assert.equal(1, #support.events(store, { kinds = { "run_rejected" } }))
    end)

    it("`enqueue` waits", function()
      twice "enqueue"
      assert.same({ "running", "pending" }, support.pluck(made(), "status"))
    end)

    it("`interrupt` stops it", function()
      twice "interrupt"
      assert.same({ "interrupted", "pending" }, support.pluck(made(), "status"))
    end)
  end)

  describe("SCHEDULE-6: changing a schedule", function()
    it("changes what comes, not what was made", function()
      assert(runs:schedule("s", { every = 60, options = { kwargs = { n = 1 }, multitask_strategy = "allow" } }))
      clock.advance(60)
      tick()
      clock.advance(30)
      local changed = assert(runs:schedule("s", { every = 100, options = { strategy = "allow", kwargs = { n = 2 } } }))
      assert.equal("2026-01-01T00:03:10+00:00", changed.next_at)
      clock.advance(100)
      tick()
      assert.same({ 60, 190 }, times())
      assert.equal(1, made()[1].kwargs.n)
    end)

    it("changes nothing when it is the same: what was missed meanwhile stays missed", function()
      assert(runs:schedule("s", { cron = "0 3 * * *" }))
      clock.advance(2 * DAY)
      assert.equal("2026-01-01T03:00:00+00:00", assert(runs:schedule("s", { cron = "0 3 * * *" })).next_at)
      tick()
      assert.same({ DAY + 3 * 3600 }, times())
    end)

    it("makes nothing twice: removing it leaves its runs", function()
      assert(runs:schedule("s", { every = 60 }))
      clock.advance(60)
      tick()
      assert.is_true(runs:unschedule "s")
      clock.advance(600)
      tick()
      assert.same({ 60 }, times())
      assert.same({}, runs:schedules())
    end)

    it("makes nothing twice when the clock is put back", function()
      assert(runs:schedule("s", { every = 60, options = { multitask_strategy = "allow" } }))
      for _ = 1, 5 do
        clock.advance(60)
        tick()
      end
      clock.advance(-250)
      tick(3)
      assert(runs:schedule("s", { every = 60, options = { multitask_strategy = "allow" }, grace = 5 })) -- changed
      for _ = 1, 6 do
        clock.advance(60)
        tick()
      end
      assert.same({ 60, 120, 180, 240, 300, 360 }, times())
    end)
  end)

  describe("SCHEDULE-7: a schedule policy", function()
    it("says when it happens: a time, or seconds from now", function()
      runs = manager { schedules = { odd = function(last, now)
        assert(type(last) == "string" and type(now) == "string")
        return last:find "00:00:00" and "2026-01-01T00:07:00Z" or 600
      end } }
      assert.equal("2026-01-01T00:07:00+00:00", assert(runs:schedule("s", { policy = "odd" })).next_at)
      clock.advance(430)
      tick()
      assert.same({ 420 }, times())
      assert.equal("2026-01-01T00:17:10+00:00", runs:schedules()[1].next_at)
    end)

    it("may be a file, in the sandbox", function()
      local path = support.dir() .. "/weekly.lua"
      local file <close> = assert(io.open(path, "w"))
      file:write "return function(last, now) return last:sub(1, 8) .. '15T12:00:00Z' end"
      file:flush()
      assert.equal("2026-01-15T12:00:00+00:00", assert(runs:schedule("s", { policy = path })).next_at)
    end)

    it("that gives no later time, or fails, is refused when the schedule is made, and nothing is written", function()
      runs = manager { schedules = { back = function(last) return last end, broken = function() error "no idea" end,
        nothing = function() end, words = function() return "tomorrow" end,
        endless = function() while true do end end } }
      for name, word in pairs { back = "not later", broken = "no idea", nothing = "a nil", words = "RFC 3339",
        endless = "budget" } do
        local err = support.invalid("policy", runs:schedule("s", { policy = name }))
        assert.truthy(err.message:find(word, 1, true), err.message)
      end
      local err = support.invalid("policy", runs:schedule("s", { policy = "unknown" }))
      assert.truthy(err.message:find("back, broken", 1, true), err.message)
      assert.same({}, runs:schedules())
      assert.same({}, support.events(store))
    end)

    it("that fails later is told of, and tried again at its last period; the others are not held up", function()
      local fails = false
      runs = manager { schedules = { p = function(last)
        if fails then error "the moon is not up" end
        return os.date("!%Y-%m-%dT%H:%M:%SZ", math.tointeger(keel.seconds(last)) + 60)
      end } }
      assert(runs:schedule("s", { policy = "p", options = { multitask_strategy = "allow" } }))
      assert(runs:schedule("other", { every = 60, options = { multitask_strategy = "allow" } }))
      clock.advance(60)
      fails = true
      tick(3)
      assert.same({ 60 }, times())
      assert.same({ 60 }, times "other")
      local row = runs:schedules()[2]
      assert.equal("2026-01-01T00:02:00+00:00", row.next_at)
      assert.truthy(row.problem:find("the moon is not up", 1, true), row.problem)
      assert.equal(1, #lines)
      assert.same({ "error", "s" }, { lines[1].level, lines[1].fields.schedule })
      clock.advance(60)
      tick()
      assert.same({ { 60 }, { 60, 120 } }, { times(), times "other" })
      assert.equal("2026-01-01T00:03:00+00:00", runs:schedules()[2].next_at)
      fails = false
      clock.advance(60)
      tick()
      assert.is_nil(runs:schedules()[2].problem)
      assert.same({ 60, 120, 180 }, times()) -- what came due meanwhile is late, and within the grace
    end)

    it("that this process does not know is left to those who know it, and told of once", function()
      local knows = manager { schedules = { p = function() return 60 end } }
      assert(knows:schedule("s", { policy = "p" }))
      clock.advance(60)
      tick(3)
      assert.same({}, times())
      assert.equal(1, #lines)
      assert.truthy(lines[1].message:find("schedule s is left to others", 1, true), lines[1].message)
      assert.is_nil(runs:next_due())
      assert(knows:tick())
      assert.same({ 60 }, times())
    end)

    it("is asked again and again for what was missed, and may jump", function()
      local asked = 0
      runs = manager { schedules = {
        steps = function(last)
          asked = asked + 1
          return os.date("!%Y-%m-%dT%H:%M:%SZ", math.tointeger(keel.seconds(last)) + 600)
        end,
        jumps = function() return 600 end,
      } }
      for name, mode in pairs { a = "all", b = "once", c = "skip" } do
        assert(runs:schedule(name, { policy = "steps", missed = mode, options = { multitask_strategy = "allow" } }))
      end
      assert(runs:schedule("d", { policy = "jumps" }))
      clock.advance(30 * DAY + 100)
      tick(8)
      assert.equal(1000, #made "a")
      assert.same({ 30 * DAY - 999 * 600, 30 * DAY }, { times "a"[1], times "a"[1000] })
      assert.same({ { 30 * DAY }, {}, { 600 } }, { times "b", times "c", times "d" })
    end)
  end)

  describe("A tick that cannot make an occurrence leaves it for the next:", function()
    it("when its strategy fails", function()
      local fails = true
      local own = { strategies = { mine = function() return not fails and { admit = true } or error "not now" end } }
      runs = manager(own)
      assert(runs:schedule("s", { every = 60, grace = 1000, options = { multitask_strategy = "mine" } }))
      assert(runs:schedule("z", { every = 60 }))
      clock.advance(60)
      local report, err = runs:tick()
      assert.equal("policy_failed", err.code)
      assert.same({ "z" }, support.pluck(report.scheduled, "thread_id"))
      assert.is_true(runs:next_due() <= 1)
      fails = false
      tick()
      assert.same({ 60 }, times())
    end)

    it("when the store is busy", function()
      assert(runs:schedule("s", { every = 60 }))
      clock.advance(60)
      local front = support.wrap(store, { begin = support.fail(5, support.busy()) })
      local failing = support.manager(front, { log = log })
      local _, err = failing:tick()
      assert.equal("busy", err.code)
      assert.same({}, times())
      assert(failing:tick())
      assert.same({ 60 }, times())
    end)

    it("when it does not know the strategy", function()
      local own = { strategies = { mine = function() return { admit = true } end } }
      assert(manager(own):schedule("s", { every = 60, options = { multitask_strategy = "mine" } }))
      clock.advance(60)
      local _, err = runs:tick()
      assert.equal("unsupported_strategy", err.code)
      assert(manager(own):tick())
      assert.same({ 60 }, times())
    end)
  end)

  describe("What is no schedule is refused, and nothing is written:", function()
    local function refused(field, definition, name)
      support.invalid(field, runs:schedule(name or "s", definition))
      assert.same({}, runs:schedules())
      assert.same({}, support.events(store))
    end

    it("its times", function()
      refused("cron", { cron = "61 * * * *" })
      refused("timezone", { cron = "* * * * *", timezone = "Nowhere" })
      refused("every", { every = 0 })
      refused("cron", {})
      refused("missed", { every = 5, missed = "some" })
      refused("grace", { every = 5, grace = -1 })
    end)

    it("its name and thread", function()
      refused("name", { every = 5 }, "")
      refused("name", { every = 5 }, "a\nb")
      refused("name", { every = 5 }, ("x"):rep(300))
      refused("thread_id", { every = 5, thread_id = "" })
      refused("thread_id", { every = 5, thread_id = "\xff" })
    end)

    it("options that are about one run, or cannot be stored", function()
      refused("idempotency_key", { every = 5, options = { idempotency_key = "k" } })
      refused("scheduled_at", { every = 5, options = { scheduled_at = "2026-01-01T00:00:00Z" } })
      refused("deadline", { every = 5, options = { deadline = "2026-01-01T00:00:00Z" } })
      refused("claimable", { every = 5, options = { claimable = false } })
      refused("multitask_strategy", { every = 5, options = { multitask_strategy = function() end } })
      refused("options", { every = 5, options = { metadata = { f = print } } })
      refused("reconciler", { every = 5, options = { reconciler = "nobody" } })
      refused("user_id", { every = 5, options = { user_id = "a\nb" } })
      refused("slots", { every = 5, options = { slots = { "gpu" } } })
      refused("rates", { every = 5, options = { rates = { { name = "set by nobody" } } } })
      support.refused("unsupported_strategy", runs:schedule("s", { every = 5, options = { strategy = "nope" } }))
      support.raises("did you mean 'priority'", runs.schedule, runs, "s", { every = 5, options = { priorty = 1 } })
      for _, options in ipairs { { priorty = 1 }, { strategy = "reject", multitask_strategy = "allow" },
        { strategy = "enqueue", strategy_options = { most = 1 } } } do
        local _, message = pcall(function() runs:schedule("s", { every = 5, options = options }) end)
        assert.matches("^spec/schedules/schedules_spec.lua:%d+: ", message)
      end
      support.raises("options", runs.schedule, runs, "s", { every = 5, options = 7 })
      support.raises("schedule", runs.schedule, runs, "s")
      assert.same({}, runs:schedules())
    end)
  end)

  it("a tick makes as many occurrences as it is told, and the next goes on", function()
    for i = 1, 5 do assert(runs:schedule("s" .. i, { every = 60, thread_id = "t" .. i })) end
    clock.advance(60)
    local counts = {}
    for i = 1, 3 do
      counts[i] = #assert(runs:tick { limit = 2 }).scheduled
      counts[i + 3] = runs:next_due()
    end
    assert.same({ 2, 2, 1, 0, 0, 60 }, counts)
  end)

  describe("SCHEDULE-8: next_due", function()
    it("is nil when nothing becomes due", function()
      assert.is_nil(runs:next_due())
      assert(runs:create("t", {}))
      assert.is_nil(runs:next_due())
    end)

    it("is the seconds until a schedule, a run that was put off, or a deadline is due", function()
      assert(runs:schedule("s", { every = 300 }))
      assert.equal(300, runs:next_due())
      assert(runs:create("t", { scheduled_at = 200 }))
      assert.equal(200, runs:next_due())
      assert(runs:create("t", { deadline = 100 }))
      assert.equal(100, runs:next_due())
      clock.advance(60)
      assert.equal(40, runs:next_due())
    end)

    it("is 0 for what has become due, until a tick has looked", function()
      assert(runs:schedule("s", { every = 300 }))
      clock.advance(301)
      assert.equal(0, runs:next_due())
      tick()
      assert.equal(299, runs:next_due())
    end)

    it("does not keep a host busy with what its tick leaves alone", function()
      assert(runs:create("t", { scheduled_at = 10, claimable = true })) -- which nobody claims
      clock.advance(10)
      assert.equal(0, runs:next_due())
      tick()
      assert.is_nil(runs:next_due())
    end)

    it("holds after the clock was put back", function()
      assert(runs:schedule("s", { every = 300 }))
      tick()
      clock.advance(-100)
      assert.equal(400, runs:next_due())
    end)
  end)
end) end)
