--- Pruning: what goes, what stays, what readers are told, and how much there is.
local runtimes = require "support.runtime"
local support = require "support"

support.each_store(function(open)
  local store, clock

  before_each(function()
    clock = support.clock()
    store = open { clock = clock.read, monotonic = clock.read }
  end)

  local function ended(run_id, status, thread_id)
    assert(store:put(run_id, { thread_id = thread_id or "t" }))
    assert(store:update_status(run_id, status or "success"))
    clock.advance(10)
  end

  local function ids(thread_id)
    local list = support.pluck(assert(store:list_by_thread(thread_id or "t", { limit = 1000 })), "run_id")
    table.sort(list)
    return table.concat(list, " ")
  end

  it("tells after each step how much has gone so far", function()
    for _ = 1, 2500 do assert(store:append_event { kind = "k" }) end
    clock.advance(1)
    local told = {}
    local counts = assert(store:prune({ keep_last = 100 }, function(so_far) told[#told + 1] = so_far.events end))
    assert.same({ 1000, 2000, 2400 }, told)
    assert.equal(2400, counts.events)
    support.raises("function expected", store.prune, store, { keep_last = 1 }, true)
  end)

  it("a run that was put in as ended, without the time of its end, ended when it was last written", function()
    assert(store:put("imported", { thread_id = "t", status = "success", created_at = "2001-01-01T00:00:00Z" }))
    assert.equal(0, assert(store:prune { before = store:now() }).runs)
    clock.advance(1)
    assert.equal(1, assert(store:prune { before = store:now() }).runs)
    assert.equal("", ids())
  end)

  describe("EVENT-7:", function()
    it("an old cursor is told of the gap and where to go on; ids are not reused", function()
      for i = 1, 6 do
        assert(store:append_event { kind = "k" .. i, run_id = "r" })
        clock.advance(10)
      end
      local old = { next_event_id = 2, epoch = store:epoch() }
      assert.equal(1, store:event_low_water())
      local counts = assert(store:prune { keep_last = 2 })
      assert.equal(4, counts.events)
      assert.equal(5, store:event_low_water())
      assert.equal(6, store:event_high_water())

      for _, filter in ipairs { {}, { run_id = "r" }, { kinds = { "k6" } } } do
        local page = assert(store:read_events(old, 10, filter))
        assert.is_true(page.gap)
        assert.same({}, page.events)
        assert.is_true(page.has_more)
        assert.same({ next_event_id = 5, epoch = store:epoch() }, page.cursor)
        page = assert(store:read_events(page.cursor, 10, filter))
        assert.is_nil(page.gap)
        assert.equal(6, page.events[#page.events].id)
      end
      local from_start = assert(store:read_events())
      assert.is_nil(from_start.gap)
      assert.same({ 5, 6 }, support.pluck(from_start.events, "id"))
      assert.is_true(store:wait_events(old, { timeout = 0 }))
      assert.same({}, store:verify())
    end)

    it("even when everything was pruned", function()
      for _ = 1, 3 do assert(store:append_event { kind = "k" }) end
      clock.advance(1)
      assert.equal(3, store:prune({ keep_last = 0 }).events)
      assert.equal(4, store:event_low_water())
      assert.equal(3, store:event_high_water())
      local page = assert(store:read_events { next_event_id = 1, epoch = store:epoch() })
      assert.is_true(page.gap)
      assert.is_false(page.has_more)
      assert.equal(4, page.cursor.next_event_id)
      assert.is_false(store:wait_events(page.cursor, { timeout = 0 }))
      page = assert(store:read_events())
      assert.same({}, page.events)
      assert.equal(4, page.cursor.next_event_id)
      assert.equal(4, store:append_event { kind = "k" })
      assert.same({ 4 }, support.pluck(store:read_events(page.cursor).events, "id"))
      assert.same({}, store:verify())
    end)

    it("a runtime's cursors and subscriptions are told, too", function()
      local runtime = runtimes.open(store)
      local cursor = assert(runtime:event_cursor_from_start())
      local subscription = assert(runtime:subscribe_events(cursor))
      local ref = runtimes.worker(runtime)
      clock.advance(1)
      assert(store:prune { keep_last = 0 })
      assert(runtime:stop_worker(ref))
      local batch = assert(runtime:read_events(cursor))
      assert.is_true(batch.gap)
      assert.same({ runtime_id = "rt", epoch = store:epoch(), next_event_id = 3 }, batch.cursor)
      assert.same(batch.cursor, runtime:event_cursor_from_start())
      local err = support.refused("not_found", subscription:next(0))
      assert.same(batch.cursor, err.cursor)
      assert.equal("worker_stopped", subscription:next(0).kind)
      assert.equal("worker_stopped", runtime:read_events().events[1].kind)
    end)
  end)

  it("takes runs that ended before a time, and leaves what is in flight", function()
    ended "a"
    ended "b"
    local before = store:now()
    ended "c"
    assert(store:put("old", { thread_id = "t", created_at = "2020-01-01T00:00:00Z" }))
    local counts = assert(store:prune { before = before })
    assert.same({ runs = 2, workers = 0, transcript_entries = 0, diagnostics = 0, events = 4 }, counts)
    assert.equal("c old", ids())
    assert.same({ runs = 0, workers = 0, transcript_entries = 0, diagnostics = 0, events = 0 },
      store:prune { before = before })
    assert.same({}, store:verify())
  end)

  it("takes only the statuses it is told", function()
    for _, status in ipairs { "success", "error", "timeout", "interrupted" } do ended(status, status) end
    assert.equal(2, store:prune({ keep_last = 0, statuses = { "success", "timeout", "stopped" } }).runs)
    assert.equal("error interrupted", ids())
    support.invalid("statuses", store:prune { keep_last = 0, statuses = { "pending" } })
    support.invalid("statuses", store:prune { keep_last = 0, statuses = { "done" } })
  end)

  it("keeps the newest of each thread", function()
    for i = 1, 5 do
      ended("a" .. i)
      ended("b" .. i, "error", "u")
    end
    assert.equal(6, store:prune({ keep_last = 2 }).runs)
    assert.equal("a4 a5", ids())
    assert.equal("b4 b5", ids "u")
  end)

  it("leaves a run that has not come to rest", function()
    local manager = support.manager(store)
    local run = assert(manager:create "t")
    assert(manager:try_start(run.run_id))
    assert(manager:cancel(run.run_id))
    clock.advance(1)
    assert.equal(0, store:prune({ keep_last = 0 }).runs)
    assert(manager:settle(run.run_id))
    assert.equal(1, store:prune({ keep_last = 0 }).runs)
  end)

  it("takes a worker that has ended with its transcript and its diagnostics, once its events have gone", function()
    local runtime = runtimes.open(store)
    local refs = {}
    for i = 1, 3 do
      refs[i] = assert(runtime:create_worker()).worker_ref
      runtimes.say(runtime, refs[i], "a", "b")
    end
    assert(runtime:stop_worker(refs[1]))
    assert(runtime:cancel_worker(refs[2]))
    clock.advance(1)
    assert.equal(0, store:prune({ keep_last = 0, statuses = { "stopped" } }).runs)
    support.refused("not_found", runtime:worker_detail(refs[1]))
    assert.equal("cancelled", runtime:worker_detail(refs[2]).status)
    local counts = assert(store:prune { keep_last = 0 })
    assert.same({ runs = 0, workers = 1, transcript_entries = 2, diagnostics = 2, events = 0 }, counts)
    local summary = assert(runtime:summary())
    assert.equal(1, summary.worker_count)
    assert.equal(1, summary.active_worker_count)
    assert.equal(2, summary.diagnostic_count)
    assert.same({ refs[3] }, support.pluck(runtime:list_workers(), "worker_ref"))
    assert.same({ "a", "b" }, runtimes.contents(runtime, refs[3]))
    assert.same({}, store:verify())
    -- A diagnostic's id is not used again either.
    assert(runtime:create_worker())
    assert.same({ 5, 6, 7, 8 }, support.pluck(runtime:diagnostics(), "id"))
  end)

  it("leaves a worker whose last event stays", function()
    local runtime = runtimes.open(store)
    local ref = runtimes.worker(runtime)
    assert(runtime:stop_worker(ref))
    clock.advance(1)
    assert.equal(0, store:prune({ keep_last = 1 }).workers)
    assert.equal("stopped", runtime:worker_detail(ref).status)
    assert.same({}, store:verify())
  end)

  it("goes through more than one step can take", function()
    assert(store:transaction(function(tx)
      for i = 1, 2500 do assert(tx:put("r" .. i, { thread_id = "t" .. i % 7, status = "success" })) end
    end))
    assert(store:transaction(function(tx)
      for i = 1, 2500 do assert(tx:update_run_completion("r" .. i, { error = "x" })) end
    end))
    for i = 1, 5 do assert(store:put("p" .. i, { thread_id = "t" })) end
    clock.advance(1)
    assert(store:transaction(function(tx)
      for i = 1, 2500 do assert(tx:put("r" .. i, { ended_at = tx:get("r" .. i).updated_at })) end
    end))
    clock.advance(1)
    local counts = assert(store:prune { keep_last = 0 })
    assert.equal(2500, counts.runs)
    assert.equal(2505, counts.events)
    assert.equal(5, store:stats().runs)
    assert.same({}, store:verify())
  end)

  it("goes on behind what stays, and lets others in between two steps", function()
    local slept, steps = 0, 0
    store = open { clock = clock.read, monotonic = clock.read, sleep = function() slept = slept + 1 end }
    assert(store:transaction(function(tx)
      for i = 1, 1500 do assert(tx:put("stays-" .. i, { thread_id = "t" .. i })) end
      return true
    end))
    ended "goes"
    local counts = assert(store:prune({ keep_last = 0 }, function()
      steps = steps + 1
      assert(steps < 10)
    end))
    assert.equal(1, counts.runs)
    assert.equal(1500, store:stats().runs)
    assert.is_true(steps > 1)
    assert.equal(steps - 1, slept)
  end)

  it("takes few workers in a step when their transcripts are long", function()
    local runtime, refs = runtimes.open(store), {}
    for i = 1, 3 do refs[i] = runtimes.worker(runtime) end
    assert(store:transaction(function(tx)
      for _, ref in ipairs(refs) do
        for _ = 1, 600 do
          assert(tx:send_worker_input(runtime:runtime_id(), ref, { kind = "user", content = "x" }))
        end
        assert(tx:end_worker(runtime:runtime_id(), ref, "stopped"))
      end
      return true
    end))
    clock.advance(10)
    local before, steps = store:now(), {}
    local place = { more = true }
    while place.more do
      place = assert(store:prune_step { before = before, next_run = place.next_run, next_worker = place.next_worker })
      steps[#steps + 1] = place.workers
    end
    assert.same({ 0, 2, 1 }, steps)
    assert.same({}, store:verify())
  end)

  it("when it is dry counts what would go, in as many steps, and leaves all as it is", function()
    local runtime = runtimes.open(store)
    for _ = 1, 3 do
      local ref = assert(runtime:create_worker()).worker_ref
      runtimes.say(runtime, ref, "a", "b")
      assert(runtime:cancel_worker(ref))
    end
    for i = 1, 4 do ended("r" .. i, i == 4 and "error" or "success") end
    assert(store:put("waits", { thread_id = "t" }))
    for _ = 1, 2100 do assert(store:append_event { kind = "k" }) end
    clock.advance(1)
    local whole = store:stats()
    whole.bytes = nil
    local function told(options)
      local steps = 0
      local counts, unused = assert(store:prune(options, function() steps = steps + 1 end))
      return { counts, steps, options.dry_run and unused or 0 }
    end
    local would = {}
    for i, options in ipairs { { keep_last = 2 }, { keep_last = 1, statuses = { "success" } }, { before = 0 } } do
      options.dry_run = true
      would[i] = told(options)
    end
    local after = store:stats()
    after.bytes = nil
    assert.same(whole, after)
    assert.same({}, store:verify())
    assert.equal(3, would[1][2])
    assert.same({ runs = 4, workers = 3, transcript_entries = 6, diagnostics = 6, events = whole.events },
      would[3][1])
    assert.same(would[1], told { keep_last = 2 })
    assert.same({ runs = 1, workers = 2, transcript_entries = 4, diagnostics = 4, events = 2 },
      store:prune { before = 0, dry_run = true })
  end)

  it("refuses nonsense", function()
    support.invalid("before", store:prune {})
    support.invalid("before", store:prune { before = "yesterday" })
    support.invalid("keep_last", store:prune { keep_last = -1 })
    support.invalid("limit", store:prune_step { before = 0, limit = 1001 })
    support.invalid("limit", store:prune_step { before = 0, limit = -1 })
    support.raises("after", store.prune, store, { after = "x" })
  end)

  it("stats count what there is", function()
    local runtime = runtimes.open(store)
    local ref = assert(runtime:create_worker()).worker_ref
    runtimes.say(runtime, ref, "a", "b")
    assert(runtime:stop_worker(runtimes.worker(runtime)))
    assert(store:put("p", { thread_id = "t" }))
    assert(store:put("q", { thread_id = "t" }))
    assert(store:update_status("q", "running"))
    ended "e"
    assert(store:lease("name", { ttl = 10 }))
    assert(store:put_schedule("s", { definition = { every = 60 }, next_at = 60, last_at = 0, period = 60 }))
    assert(store:prune { keep_last = 3 })
    local stats = assert(store:stats())
    assert.is_true(stats.bytes > 0 and stats.bytes % 1024 == 0)
    assert.same({ "p", "number" }, { stats.oldest_waiting, type(stats.oldest_waiting_age) })
    stats.bytes, stats.oldest_waiting, stats.oldest_waiting_age = nil, nil, nil
    assert.same({ delayed_runs = 0, blocked_runs = 0, limited_runs = 0, limits = 0, pauses = 0, runs = 3,
      pending_runs = 1, running_runs = 1, runtimes = 1, workers = 2, active_workers = 1, transcript_entries = 2,
      diagnostics = 2, leases = 1, schedules = 1, sessions = 1, events = 3, event_low_water = 10,
      event_high_water = 12 }, stats)
  end)

  it("counts what waits, and says which run has waited for longest, and for how long", function()
    assert.is_nil(store:stats().oldest_waiting)
    assert(store:put("later", { thread_id = "t", claimable = true, scheduled_at = 60 }))
    clock.advance(5)
    assert(store:put("first", { thread_id = "t", claimable = true }))
    assert(store:put("after", { thread_id = "t", claimable = true, after = { "first" } }))
    assert(store:put("limited", { thread_id = "t", claimable = true, slots = { { name = "gpu", max = 1 } } }))
    assert(store:set_limit("gpu", { max = 2 }))
    assert(store:pause "*")
    clock.advance(7.5)
    local stats = assert(store:stats())
    assert.same({ 4, 1, 1, 1, 2, 1 }, { stats.pending_runs, stats.delayed_runs, stats.blocked_runs, stats.limited_runs,
      stats.limits, stats.pauses })
    assert.same({ "first", 7.5 }, { stats.oldest_waiting, stats.oldest_waiting_age })
    assert(store:delete "first")
    clock.advance(100)
    assert.same({ "limited", 107.5 }, { store:stats().oldest_waiting, store:stats().oldest_waiting_age })
  end)
end)

describe("[#sqlite] Pruning in small steps", function()
  after_each(support.clean_up)

  it("leaves nothing that says where events were", function()
    local path, clock = support.path(), support.clock()
    local store = support.open(path, { clock = clock.read, durability = "off" })
    for i = 1, 130 do
      assert(store:put("r" .. i, { thread_id = "t" .. i, status = "success" }))
      clock.advance(1)
    end
    for _, seconds in ipairs { 100, 50, 10, 0 } do assert(store:prune { before = -seconds }) end
    local sql = "SELECT (SELECT count(*) FROM events_of_run) + (SELECT count(*) FROM events_of_thread)"
    local sqlite <close> = assert(io.popen(("sqlite3 '%s' '%s' 2>&1"):format(path, sql)))
    local count = sqlite:read "l"
    if not tonumber(count) then return pending "there is no sqlite3 to look with" end
    assert.equal("0", count)
  end)
end)
