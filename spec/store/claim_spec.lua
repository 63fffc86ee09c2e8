--- Claiming at the level of the store: who is taken, who is not, and what becomes of the row.
local keel = require "keel"
local support = require "support"

support.each_store(function(open)
  local clock, store
  before_each(function()
    clock = support.clock()
    store = open { clock = clock.read, monotonic = clock.read, durability = "off" }
  end)

  local function put(run_id, fields)
    local given = { thread_id = run_id, claimable = true }
    for name, value in pairs(fields or {}) do given[name] = value end
    assert(store:put(run_id, given))
  end

  --- The ids that claiming gives until there is nothing to claim.
  local function claim_all(options)
    local ids = {}
    repeat
      local run, err = store:claim_next(options)
      assert.is_nil(err)
      ids[#ids + 1] = run and run.run_id
    until not run
    return ids
  end

  describe("claim_next", function()
    it("gives nil when there is nothing to claim", function()
      assert.is_nil((store:claim_next()))
      assert.is_nil((store:claim_next {}))
      assert.equal(0, #support.events(store))
    end)

    it("takes a run: it is running, this session owns it, and its fence has grown", function()
      put("r", { metadata = { k = "v" }, priority = 3 })
      clock.advance(5)
      local run = assert(store:claim_next())
      assert.same({ "r", "running", store:session_id(), false, 2 },
        { run.run_id, run.status, run.session_id, run.claimable, run.fence })
      assert.same({ { k = "v" }, "2026-01-01T00:00:05+00:00" }, { run.metadata, run.started_at })
      assert.same(run, store:get "r")
    end)

    it("leaves the event run_started, with fence and session", function()
      put "r"
      assert(store:claim_next())
      local events = support.events(store, { run_id = "r" })
      assert.same({ "run_created", "run_started" }, support.pluck(events, "kind"))
      assert.same({ 2, store:session_id() }, { events[2].data.fence, events[2].data.session_id })
    end)

    it("takes the highest priority first, and of equal ones the oldest", function()
      put "a"
      put("b", { priority = 5 })
      put("c", { priority = -1 })
      put("d", { priority = 5 })
      put "e"
      assert.same({ "b", "d", "a", "e", "c" }, claim_all())
    end)

    it("goes by the order of insertion, not by the times that were given", function()
      put("a", { created_at = "2026-01-01T00:00:09Z" })
      put("b", { created_at = "2026-01-01T00:00:01Z" })
      assert.same({ "a", "b" }, claim_all())
    end)

    it("takes claimable ones only", function()
      put("orphan", { claimable = false })
      put("owned", { claimable = false, session_id = store:session_id() })
      put("ended", { status = "error" })
      put "free"
      assert.same({ "free" }, claim_all())
    end)

    it("takes a run once", function()
      put "r"
      assert(store:claim_next())
      assert.is_nil((store:claim_next()))
    end)

    it("skips what is not due yet, and takes it when its time has come", function()
      put("later", { scheduled_at = "2026-01-01T00:00:10Z", priority = 9 })
      put "now"
      assert.same({ "now" }, claim_all())
      clock.advance(9)
      assert.same({}, claim_all())
      clock.advance(1)
      assert.same({ "later" }, claim_all())
    end)

    it("skips what is too late, and what somebody wants stopped", function()
      put("late", { deadline = "2026-01-01T00:00:10Z" })
      put "stopped"
      put "free"
      assert(store:request_cancel "stopped")
      clock.advance(10)
      assert.same({ "free" }, claim_all())
    end)

    it("takes runs of the given threads only; of an empty list none", function()
      put("a", { thread_id = "s" })
      put("b", { thread_id = "t", priority = 9 })
      put("c", { thread_id = "u" })
      assert.same({}, claim_all { threads = {} })
      assert.same({ "a", "c" }, claim_all { threads = { "u", "s", "nobodys" } })
      assert.same({ "b" }, claim_all { threads = { "t", "t" } })
    end)

    it("starts no more of a thread than may run", function()
      for i = 1, 5 do put("r" .. i, { thread_id = "t", concurrency = 2 }) end
      assert.same({ "r1", "r2" }, claim_all())
      assert(store:update_status("r1", "success"))
      assert.same({ "r3" }, claim_all())
    end)

    it("starts none before what it waits for has settled", function()
      put("first", { claimable = false, session_id = store:session_id() })
      put("second", { waits_for = { "first" } })
      assert.same({}, claim_all())
      assert(store:update_status("first", "running", { gate = true }))
      assert(store:update_status("first", "interrupted", { finalizing = true }))
      assert.same({}, claim_all())
      assert.is_true(store:settle "first")
      assert.same({ "second" }, claim_all())
    end)

    it("starts each when what it waits for has settled, whatever others of its kind wait for", function()
      for _, name in ipairs { "slow", "quick" } do put(name, { claimable = false, session_id = store:session_id() }) end
      put("behind slow", { waits_for = { "slow" }, priority = 1 })
      put("behind quick", { waits_for = { "quick" } })
      assert.same({}, claim_all())
      assert(store:update_status("quick", "success"))
      assert.same({ "behind quick" }, claim_all())
    end)

    it("does not overtake what is queued ahead on the thread, though that is not to be claimed", function()
      put("owned", { thread_id = "t", claimable = false, session_id = store:session_id(), concurrency = 1 })
      put("queued", { thread_id = "t", concurrency = 1 })
      assert.same({}, claim_all())
      assert(store:update_status("owned", "success"))
      assert.same({ "queued" }, claim_all())
    end)

    it("goes on to other threads when the best one's is taken", function()
      put("running", { thread_id = "t", claimable = false, status = "running", session_id = store:session_id() })
      put("blocked", { thread_id = "t", concurrency = 1, priority = 9 })
      put "free"
      assert.same({ "free" }, claim_all())
    end)

    --- Threads with a run that runs and one that waits for its turn.
    local function block(count)
      assert(store:transaction(function(tx)
        for i = 1, count do
          local thread_id = ("blocked-%04d"):format(i)
          assert(tx:put("running" .. i, { thread_id = thread_id, status = "running", session_id = store:session_id() }))
          assert(tx:put("waiting" .. i, { thread_id = thread_id, claimable = true, concurrency = 1, priority = 5 }))
        end
        return true
      end))
    end

    it("finds what may start behind more blocked threads than it looks at at first", function()
      block(100)
      put("z", { priority = 1 })
      put("y", { priority = 2 })
      assert.same({ "y", "z" }, claim_all())
    end)

    it("finds it behind one thread with a long queue, too", function()
      put("running", { thread_id = "t", claimable = false, status = "running", session_id = store:session_id() })
      for i = 1, 200 do put("r" .. i, { thread_id = "t", concurrency = 1 }) end
      put "z"
      assert.same({ "z" }, claim_all())
    end)

    it("takes what is behind one that waits for another run: what cannot start holds nobody up", function()
      put("other", { claimable = false, status = "running", session_id = store:session_id() })
      put("waits", { thread_id = "t", waits_for = { "other" }, concurrency = 1 })
      put("queued", { thread_id = "t", concurrency = 1 })
      put("free", { thread_id = "t" })
      assert.same({ "queued", "free" }, claim_all())
    end)

    it("F-21: finds what is free at once, however many threads are blocked", function()
      block(100)
      put("z", { thread_id = "z" })
      assert.equal("z", assert(store:claim_next { limit = 1 }).run_id)
      put("a", { thread_id = "a" })
      assert.equal("a", assert(store:claim_next { limit = 1 }).run_id)
      assert.is_nil((store:claim_next { limit = 1 }))
    end)

    it("F-21: nor for what has become the best of a blocked thread", function()
      block(100)
      for i = 1, 100 do
        put("urgent" .. i, { thread_id = ("blocked-%04d"):format(i), concurrency = 1, priority = 9 })
      end
      put("z", { thread_id = "z" })
      assert.equal("z", assert(store:claim_next { limit = 1 }).run_id)
    end)

    it("F-21: nor for what was blocked again before anybody looked", function()
      local session_id = store:session_id()
      for i = 1, 3 do
        local thread = "t" .. i
        put("runs" .. i, { thread_id = thread, claimable = false, status = "running", session_id = session_id })
        put("waits" .. i, { thread_id = thread, concurrency = 1, priority = 9 })
        assert(store:update_status("runs" .. i, "success")) -- its turn has come
        put("ahead" .. i, { thread_id = thread, claimable = false, status = "running", session_id = session_id })
      end
      put("z", { thread_id = "z" })
      assert.equal("z", assert(store:claim_next { limit = 10 }).run_id)
      for i = 1, 3 do assert(store:update_status("ahead" .. i, "success")) end
      assert.same({ "waits1", "waits2", "waits3" }, claim_all())
    end)

    it("takes the next of a handler when the time of the one ahead is over, which nobody has recovered", function()
      put("late", { handler = "mail", deadline = "2026-01-01T00:00:05+00:00" })
      clock.advance(10)
      assert.same({}, claim_all())
      put("next", { handler = "mail" })
      assert.same({ "next" }, claim_all())
      assert.equal("pending", store:get("late").status)
    end)

    it("takes only runs of the handlers that are asked for, the best of them first", function()
      put("mail", { thread_id = "t", handler = "mail" })
      put("urgent", { thread_id = "u", handler = "mail", priority = 1, concurrency = 1 })
      put("film", { thread_id = "v", handler = "film", priority = 9 })
      put("plain", { thread_id = "w" })
      local function take(...) return (store:claim_next { handlers = { ... } } or {}).run_id end
      assert.is_nil(take "no such")
      assert.equal("urgent", take("no such", "mail"))
      assert.equal("mail", take "mail")
      assert.is_nil(take "mail")
      assert.equal("plain", take("mail", "default"))
      assert.equal("film", store:claim_next().run_id)
      put("one", { thread_id = "x", handler = "one" })
      put("two", { thread_id = "x", handler = "two" })
      assert.equal("two", store:claim_next({ threads = { "x" }, handlers = { "two" } }).run_id)
    end)

    it("F-20: passes over what is not due, on its own thread too", function()
      put("later", { thread_id = "t", concurrency = 1, scheduled_at = "2099-01-01T00:00:00Z" })
      put("now", { thread_id = "t", concurrency = 1 })
      assert.equal("now", assert(store:claim_next()).run_id)
    end)

    it("may be part of a transaction, and is undone with it", function()
      put "r"
      do
        local tx <close> = assert(store:begin())
        assert.equal("r", assert(tx:claim_next()).run_id)
        assert.is_nil((tx:claim_next()))
      end
      assert.same({ "pending", true, 1 }, { store:get("r").status, store:get("r").claimable, store:get("r").fence })
      assert.equal(1, #support.events(store))
      assert.same({ "r" }, claim_all())
    end)

    it("gives the run a lease when told so", function()
      put "r"
      assert.equal("2026-01-01T00:00:30+00:00", assert(store:claim_next { lease_ttl = 30 }).lease_expires_at)
    end)

    it("refuses a bad limit, bad threads and a bad lease", function()
      put "r"
      for _, limit in ipairs { 0, -1 } do support.invalid("limit", store:claim_next { limit = limit }) end
      local err = support.refused("limit_too_large", store:claim_next { limit = 1001 })
      assert.same({ 1001, 1000 }, { err.requested, err.max })
      support.invalid("threads", store:claim_next { threads = { "" } })
      support.invalid("threads", store:claim_next { threads = { "t", "a\nb" } })
      local many = {}
      for i = 1, 1001 do many[i] = "t" .. i end
      err = support.refused("limit_too_large", store:claim_next { threads = many })
      assert.same({ 1001, 1000 }, { err.requested, err.max })
      support.invalid("lease_ttl", store:claim_next { lease_ttl = -1 })
      support.invalid("lease_ttl", store:claim_next { lease_ttl = 0 / 0 })
      assert.equal("pending", store:get("r").status)
    end)

    it("takes as many threads and handlers as there may be", function()
      assert(store:put("r", { thread_id = "t1000", claimable = true, handler = "h64" }))
      local threads, handlers = {}, {}
      for i = 1, 1000 do threads[i] = "t" .. i end
      for i = 1, 64 do handlers[i] = "h" .. i end
      assert.equal("r", store:claim_next({ threads = threads, handlers = handlers }).run_id)
      threads[1001], handlers[65] = "more", "more"
      for _, asked in ipairs { { threads = threads }, { handlers = handlers } } do
        support.refused("limit_too_large", store:claim_next(asked))
      end
    end)

    it("raises for unknown options and wrong types, naming them", function()
      support.raises("thread", store.claim_next, store, { thread = "t" })
      support.raises("threads", store.claim_next, store, { threads = "t" })
      support.raises("threads", store.claim_next, store, { threads = { 42 } })
      support.raises("limit", store.claim_next, store, { limit = "all" })
      support.raises("limit", store.claim_next, store, { limit = 1.5 })
      support.raises("lease_ttl", store.claim_next, store, { lease_ttl = "long" })
      support.raises({ "options", "#1" }, store.claim_next, store, "t")
    end)
  end)

  describe("The gate", function()
    local function own(run_id, fields)
      local given = { thread_id = "t", claimable = false, session_id = store:session_id() }
      for name, value in pairs(fields or {}) do given[name] = value end
      put(run_id, given)
    end

    --- What a start comes to: "started", or what is in the way.
    local function start(run_id)
      local found, written, gate = store:update_status(run_id, "running", { gate = true })
      assert(found, written)
      if not gate then return written.status == "running" and "started" or written.status end
      assert.is_nil(written.status)
      assert.equal("pending", store:get(run_id).status)
      return gate.gate, gate.run_id or gate.scheduled_at
    end

    it("is open for a run without conditions", function()
      own "r"
      assert.same({ gate = "open", position = 1 }, store:gate "r")
      assert.equal("started", start "r")
    end)

    it("opens when its time has come", function()
      own("r", { scheduled_at = "2026-01-01T00:00:10Z" })
      assert.same({ "delay", "2026-01-01T00:00:10+00:00" }, { start "r" })
      assert.same({ gate = "delay", scheduled_at = "2026-01-01T00:00:10+00:00", position = 1 }, store:gate "r")
      clock.advance(10)
      assert.equal("started", start "r")
    end)

    it("opens when all runs it waits for have settled, or are gone", function()
      own "a"
      own("b", { thread_id = "elsewhere" })
      own("r", { waits_for = { "a", "b", "never-there" } })
      assert.same({ "after", "a" }, { start "r" })
      assert(store:update_status("a", "success"))
      assert.same({ "after", "b" }, { start "r" })
      assert(store:delete "b")
      assert.equal("started", start "r")
    end)

    it("does not let a run wait for itself", function()
      own("r", { waits_for = { "r" } })
      assert.equal("started", start "r")
    end)

    it("opens for the first of the queue when a place is free", function()
      own("a", { concurrency = 2 })
      own("b", { concurrency = 2 })
      own("c", { concurrency = 2 })
      assert.same({ "queue", "a" }, { start "c" })
      assert.equal("started", start "a")
      assert.same({ "queue", "b" }, { start "c" })
      assert.equal("started", start "b")
      assert.same({ "concurrency", "a" }, { start "c" })
      assert(store:update_status("a", "timeout"))
      assert.equal("started", start "c")
    end)

    it("F-20: counts to the queue what becomes due at this very moment", function()
      own("a", { concurrency = 1 })
      own("b", { concurrency = 1, priority = 9, scheduled_at = "2026-01-01T00:00:05Z" })
      clock.advance(5)
      assert.same({ "queue", "b" }, { start "a" })
      assert.equal("started", start "b")
    end)

    it("does not mind what is queued ahead for a run without a concurrency", function()
      own("a", { concurrency = 1 })
      own "b"
      assert.equal("started", start "b")
      assert.same({ "concurrency", "b" }, { start "a" })
    end)

    it("counts what is finalizing, and reservations", function()
      own "a"
      own("b", { concurrency = 1 })
      assert.equal("started", start "a")
      assert(store:update_status("a", "interrupted", { finalizing = true }))
      assert.same({ "concurrency", "a" }, { start "b" })
      assert.is_true(store:settle "a")
      own("held", { status = "running", operation_kind = "delete" })
      assert.same({ "concurrency", "held" }, { start "b" })
      assert(store:update_status("held", "success"))
      assert.equal("started", start "b")
    end)

    it("interrupts what was asked to stop, and ends what is too late, instead of starting it", function()
      own "a"
      own("b", { deadline = "2026-01-01T00:00:10Z" })
      assert(store:request_cancel("a", { action = "rollback" }))
      clock.advance(10)
      assert.same({ "interrupted", "timeout" }, { start "a", (start "b") })
      assert.same({ "rollback", "deadline" }, { store:get("a").cancel_action, store:get("b").stop_reason })
    end)

    it("is for pending runs, and for starting them", function()
      own "a"
      assert.equal("started", start "a")
      local err = support.refused("invalid_transition", store:update_status("a", "running", { gate = true }))
      assert.same({ "running", "running" }, { err.from, err.to })
      support.invalid("gate", store:update_status("a", "success", { gate = true }))
      assert.same({ gate = "open" }, store:gate "a")
      assert.equal("running", store:get("a").status)
    end)

    it("does not start a run that is to be claimed", function()
      put "free"
      support.refused("stale_owner", store:update_status("free", "running", { gate = true }))
      assert.same({ "pending", true }, { store:get("free").status, store:get("free").claimable })
    end)

    it("holds for the owner's fence", function()
      own "r"
      support.refused("stale_owner", store:update_status("r", "running", { gate = true, fence = 7 }))
      assert.equal("pending", store:get("r").status)
    end)

    it("is asked by start as by update_status, without a table", function()
      own "a"
      own("b", { concurrency = 1 })
      local found, written, gate = store:start("a", 1, 2.5)
      assert.same({ true, "running", "2026-01-01T00:00:02.500000+00:00", nil },
        { found, written.status, written.lease_expires_at, gate })
      found, written, gate = store:start "b"
      assert.same({ true, {}, { gate = "concurrency", run_id = "a" } },
        { found, written, { gate = gate.gate, run_id = gate.run_id } })
      assert.is_false((store:start "nobody"))
      support.refused("stale_owner", store:start("b", 7))
      support.invalid("lease_ttl", store:start("b", 1, -1))
      assert.has_error(function() store:start("b", "1") end)
      assert.has_error(function() store:start("b", 1, "2") end)
      assert.equal("pending", store:get("b").status)
    end)

    it("of an unknown run is nil, and its start finds nothing", function()
      assert.is_nil((store:gate "nobody"))
      assert.is_false((store:update_status("nobody", "running", { gate = true })))
      support.invalid("run_id", store:gate "")
    end)

    it("tells the position in the queue", function()
      own("a", { concurrency = 1 })
      own("b", { concurrency = 1, priority = 5 })
      own("c", { concurrency = 1 })
      assert.same({ 2, 1, 3 }, { store:gate("a").position, store:gate("b").position, store:gate("c").position })
    end)
  end)
end)

describe("[#sqlite] Processes that claim from one store", function()
  after_each(support.clean_up)

  it("claim disjoint runs, all of them, and never more of a thread than may run", function()
    local path, children, claimed = support.path(), {}, {}
    local store = support.open(path, { durability = "off" })
    assert(store:transaction(function(tx)
      for i = 1, 200 do
        assert(tx:put("r" .. i, { thread_id = "t" .. i % 7, claimable = true, concurrency = i % 2 == 0 and 1 or nil }))
      end
      return true
    end))
    for i = 1, 4 do
      children[i] = support.spawn([[
        local store = assert(keel.open((...), { durability = "off" }))
        local ids = {}
        say "ready" hear()
        while true do
          local run, err = store:claim_next()
          assert(not err, err)
          if run then
            assert(store:update_status(run.run_id, "success", { fence = run.fence }))
            ids[#ids + 1] = run.run_id
          elseif #assert(store:list_inflight { limit = 1 }) == 0 then
            break
          end
        end
        say(keel.json.encode(keel.array(ids))) hear()
      ]], { path })
    end
    for _, child in ipairs(children) do child:expect "ready" end
    for _, child in ipairs(children) do child:say "go" end
    local count = 0
    for _, child in ipairs(children) do
      for _, run_id in ipairs(keel.json.decode(child:hear())) do
        assert.is_nil(claimed[run_id])
        claimed[run_id], count = true, count + 1
      end
    end
    assert.equal(200, count)
    assert.equal(200, #support.events(store, { kinds = { "run_started" } }))
  end)
end)
