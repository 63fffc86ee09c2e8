--- Trying runs again, and cancelling many.
local Attachment = require "keel.manager.attachment"
local keel = require "keel"
local support = require "support"

support.each_store(function(open)
  describe("A retry", function()
    local store, manager, clock
    before_each(function() store, manager, clock = support.managed(open) end)
    after_each(function() assert.same({}, store:verify()) end)

    local function create(options)
      options = options or {}
      options.claimable = true
      return assert(manager:create("t", options)).run_id
    end
    local function claimed()
      local run = manager:claim_next()
      return run and run.run_id
    end
    local function ended(options, as)
      local run_id = create(options)
      assert.equal(run_id, claimed())
      assert(manager:set_status(run_id, as or "error"))
      return run_id
    end
    local function status(run_id) return store:get(run_id).status end
    local function newest(run_id) return store:newest_retry(run_id) end

    it("FAMILY-5: is a new run of the same work, which anybody may claim, and has the key", function()
      local given = { assistant_id = "a", user_id = "u", metadata = { m = 1 }, kwargs = { k = { 1, 2 } }, priority = 3,
        max_attempts = 2, batch_id = "B", plan_entry = "p", idempotency_key = "key", handler = "h", timeout = 5,
        slots = { { name = "s", max = 2 } }, rates = { { name = "r", max = 9, per = 60 } }, deadline = 60 }
      local old = ended(given)
      clock.advance(100)
      local run = assert(manager:retry(old))
      assert.same({ old, "pending", true, 1 }, { run.retry_of, run.status, run.claimable, run.attempt })
      local before, after = store:get(old), store:get(run.run_id)
      for _, name in ipairs { "thread_id", "assistant_id", "user_id", "metadata", "kwargs", "priority", "max_attempts",
        "batch_id", "plan_entry", "idempotency_key", "idempotency_hash", "handler", "timeout", "slots", "rates" } do
        assert.same(before[name], after[name], name)
      end
      assert.equal(60, keel.seconds(after.deadline) - keel.seconds(after.created_at))
      local again = assert(manager:create("t", { assistant_id = "a", user_id = "u", metadata = { m = 1 },
        kwargs = { k = { 1, 2 } }, idempotency_key = "key" }))
      assert.same({ run.run_id, true }, { again.run_id, again.idempotency_reused })
      assert.equal(run.run_id, newest(old))
      assert.equal(run.run_id, claimed())
      assert.equal(old, support.events(store, { run_id = run.run_id })[1].data.retry_of)
    end)

    it("FAMILY-5: starts under the conditions of the old one, and keeps the key for as long", function()
      local old = assert(manager:create_or_reject("t", { multitask_strategy = "enqueue", claimable = true,
        strategy_options = { strict = true }, idempotency_key = "key", idempotency_ttl = 60 })).run_id
      assert.equal(old, claimed())
      assert(manager:set_status(old, "error"))
      local before, after = store:get(old), store:get(assert(manager:retry(old)).run_id)
      assert.same({ "enqueue", 1, true }, { before.multitask_strategy, before.concurrency, before.strict })
      for _, name in ipairs { "multitask_strategy", "concurrency", "strict", "idempotency_expires_at" } do
        assert.is_not_nil(after[name])
        assert.equal(before[name], after[name], name)
      end
    end)

    it("FAMILY-5: waits for nothing that is not there any more", function()
      local a, of_batch = create(), create { batch_id = "gone" }
      local old = create { after = { a, { batch_id = "gone" } } }
      assert(manager:cancel(a))
      assert.equal("error", status(old))
      for _, run_id in ipairs { a, of_batch } do assert(store:delete(run_id)) end
      local run = assert(manager:retry(old))
      assert.is_nil(run.after)
      assert.equal(run.run_id, claimed())
    end)

    it("tells the executor of its process that there is something to claim", function()
      local told = 0
      Attachment.new(manager, { on_claimable = function() told = told + 1 end })
      assert(store:put("one", { thread_id = "t", status = "error" }))
      assert(store:put("two", { thread_id = "t", status = "error" }))
      assert(manager:retry "one")
      assert.equal(1, told)
      assert.equal(1, manager:retry_all {})
      assert.equal(2, told)
      assert.equal(0, manager:retry_all {})
      assert.equal(2, told)
    end)

    it("FAMILY-5: lists what nobody has tried again, the oldest first, and behind a run", function()
      for i = 1, 4 do
        assert(store:put("r" .. i, { thread_id = "t", batch_id = "B", status = i == 4 and "timeout" or "error" }))
      end
      assert(store:put("m", { thread_id = "keel.machine/m", operation_kind = "dispatch", batch_id = "B",
        status = "error" }))
      local function listed(query)
        query.statuses = query.statuses or { "error" }
        return support.pluck(assert(store:list_retriable(query)), "run_id")
      end
      for _, place in ipairs { {}, { thread_id = "t" }, { batch_id = "B" } } do
        local function of_place(query)
          for name, value in pairs(place) do query[name] = value end
          return listed(query)
        end
        assert.same({ "r1", "r2", "r3" }, of_place {})
        assert.same({ "r1", "r2" }, of_place { limit = 2 })
        assert.same({ "r2", "r3" }, of_place { after = "r1" })
        assert.same({ "r3", "r4" }, of_place { after = "r2", statuses = { "timeout", "error" } })
      end
      assert.same({}, listed { thread_id = "keel.machine/m" })
      assert(manager:retry "r2")
      assert.same({ "r1", "r3" }, listed {})
      assert.same({ "r1", "r3" }, listed { batch_id = "B" })
      support.invalid("statuses", store:list_retriable { statuses = {} })
      support.invalid("batch_id", store:list_retriable { statuses = { "error" }, batch_id = "B", thread_id = "t" })
      support.refused("not_found", store:list_retriable { statuses = { "error" }, after = support.unknown_id() })
    end)

    it("is refused for what is in flight, was tried again, is a machine's or is not there", function()
      local pending = create()
      support.refused("conflict", manager:retry(pending))
      assert(manager:cancel(pending))
      local old = ended()
      local first = assert(manager:retry(old)).run_id
      local machine = assert(keel.dispatcher { store = store }:create { machine = "m", test_dir_hash = "h" })
      local last = store:event_high_water()
      assert.equal(first, support.refused("conflict", manager:retry(old)).run_id)
      support.invalid("run_id", manager:retry(machine.id))
      support.refused("not_found", manager:retry(support.unknown_id()))
      support.raises("retry", function() manager:retry(1) end)
      assert.equal(last, store:event_high_water())
    end)

    it("of a run that succeeded is made when it is asked for by name, and its newest try is the last of all", function()
      local old = ended({}, "success")
      assert.equal(0, manager:retry_all {})
      local run = assert(manager:retry(old)).run_id
      assert.equal(run, claimed())
      assert(manager:set_status(run, "error"))
      local third = assert(manager:retry(run)).run_id
      assert.equal(third, newest(old))
      assert.equal(third, newest(run))
      assert.is_nil(newest(third))
    end)

    it("FAMILY-5: of all that failed starts what was failed with a dependency, behind its newest try", function()
      local a = create { batch_id = "B" }
      local b = create { batch_id = "B", after = { a } }
      local c = create { batch_id = "B", after = { { run_id = b, on = "success" }, { run_id = a, on = "final" } } }
      assert.equal(a, claimed())
      assert(manager:set_status(a, "error"))
      assert.same({ "error", "error" }, { status(b), status(c) })
      assert.equal(3, manager:retry_all { batch_id = "B" })
      local a2, b2, c2 = newest(a), newest(b), newest(c)
      assert.same({ { run_id = a2, on = "success" } }, store:get(b2).after)
      assert.same({ { run_id = b2, on = "success" }, { run_id = a2, on = "final" } }, store:get(c2).after)
      for _, run_id in ipairs { a2, b2, c2 } do
        assert.equal(run_id, claimed())
        assert.is_nil(claimed())
        assert(manager:set_status(run_id, "success"))
      end
      assert.equal(0, manager:retry_all { batch_id = "B" })
      assert.equal(6, manager:batch("B").total)
    end)

    it("FAMILY-5: of all goes on at a second call, and tries nothing twice, not even what fails at once", function()
      local a = create()
      local b = create { after = { a }, user_id = "u" }
      assert.equal(a, claimed())
      assert(manager:set_status(a, "error"))
      assert.equal(1, manager:retry_all { user_id = "u" }) -- its source was not tried again
      assert.equal("error", status(newest(b)))
      assert.equal(1, manager:retry_all { thread_id = "t", user_id = "u" })
      local failing = support.manager(support.wrap(store, { tx = { commit = support.fail(5, support.broken()) } }))
      local result, err = failing:retry_all {}
      assert.same({ nil, "store_corrupt", 0 }, { result, err.code, err.done })
      assert.equal(2, manager:retry_all {})
      assert.is_not_nil(newest(a))
    end)

    local function fill(count, fields)
      assert(store:transaction(function(tx)
        for i = 1, count do
          local of_run = { thread_id = "t" }
          for name, value in pairs(fields) do of_run[name] = value end
          assert(tx:put("r" .. i, of_run))
        end
      end))
    end
    -- A store whose listings go on for so many calls: what never ends fails.
    local function listing(method, fn)
      local calls = 0
      return support.manager(support.wrap(store, { [method] = function(original, query)
        calls = calls + 1
        assert(calls < 20, "it does not come to an end")
        return fn(original, query, calls)
      end }))
    end
    -- The first of a page, and word that there is more.
    local function one_by_one(original, query)
      local rows = assert(original(query))
      if #rows > 1 then return { rows[1] }, true end
      return rows
    end

    it("FAMILY-5: of all ends, though its own tries fail at once, page after page", function()
      local source = ended()
      fill(64, { user_id = "u", after = { source } })
      assert.equal("error", status "r64")
      local careful = listing("list_retriable", function(original, query) return original(query) end)
      assert.equal(64, careful:retry_all { user_id = "u" })
    end)

    it("FAMILY-5: of all goes on from the start when what it would go on behind is deleted", function()
      fill(70, { status = "error" })
      local once = listing("list_retriable", function(original, query, calls)
        if calls == 2 then assert(store:delete(query.after)) end
        return original(query)
      end)
      assert.equal(70, once:retry_all {})
      assert.is_not_nil(newest "r1")
      assert.is_not_nil(newest "r70")
    end)

    it("FAMILY-5: of all, and a cancel of all, go on behind a page that is short of what it could have", function()
      fill(3, { status = "error" })
      assert.equal(3, listing("list_retriable", one_by_one):retry_all {})
      assert.equal(3, listing("list_inflight", one_by_one):cancel_all {})
      assert.same({}, store:list_inflight {})
    end)

    it("FAMILY-5: of all, and a cancel of all, say how many were done before they failed", function()
      local function failing()
        local left = 1
        return support.manager(support.wrap(store, { tx = { commit = function(original)
          left = left - 1
          if left < 0 then return nil, support.broken() end
          return original()
        end } }))
      end
      fill(70, { status = "error" })
      local result, err = failing():retry_all {}
      assert.same({ nil, "store_corrupt", 64 }, { result, err.code, err.done })
      assert.equal(64, #store:list_inflight {})
      assert.equal(6, manager:retry_all {})
      result, err = failing():cancel_all {}
      assert.same({ nil, "store_corrupt", 64 }, { result, err.code, err.done })
      assert.equal(6, manager:cancel_all {})
    end)

    it("goes by the filter, in pages", function()
      for i = 1, 150 do
        assert(store:put("r" .. i, { thread_id = "t" .. i % 3, status = i % 2 == 0 and "error" or "timeout",
          handler = i % 5 == 0 and "five" or nil, user_id = i % 7 == 0 and "seven" or nil }))
      end
      assert(store:put("done", { thread_id = "t0", status = "success" }))
      assert(store:put("stopped", { thread_id = "t0", status = "interrupted" }))
      assert.equal(1, manager:retry_all { handler = "five", user_id = "seven", status = "timeout", thread_id = "t0" })
      assert.equal("r105", store:get(newest "r105").retry_of)
      assert.equal(0, manager:retry_all { before = -1 })
      assert.equal(120, manager:retry_all { handler = "default" })
      assert.equal(29, manager:retry_all {})
      assert.equal(1, manager:retry_all { status = "interrupted", thread_id = "t0" })
      local order = support.pluck(support.events(store, { kinds = { "run_created" } }), "data")
      assert.same({ "r1", "r2", "r3" }, { order[154].retry_of, order[155].retry_of, order[156].retry_of })
    end)

    it("goes by when runs were made, and a cancel of all by its action", function()
      for i = 1, 3 do
        assert(store:put("r" .. i, { thread_id = "t", status = "error" }))
        create()
        clock.advance(60)
      end
      assert.equal(0, manager:retry_all { since = -60 + 0.001 })
      assert.equal(1, manager:retry_all { since = -60 })
      assert.equal(store:get "r3".run_id, store:get(newest "r3").retry_of)
      assert.equal(1, manager:retry_all { since = store:get "r2".created_at:gsub("%+00:00$", "Z"), before = -61 })
      assert.equal(2, manager:cancel_all({ since = -120, before = -1 }, { action = "rollback" }))
      assert.equal("rollback", store:list_runs { status = "interrupted" }[1].cancel_action)
      assert.equal(3, manager:cancel_all {})
      support.invalid("since", manager:cancel_all { since = "yesterday" })
      support.invalid("action", manager:cancel_all({}, { action = "stop" }))
      support.raises("cancel_all", function() manager:cancel_all({}, { acton = "rollback" }) end)
    end)

    it("waits until what it tries again has come to rest, and has its parent while that is there", function()
      local parent = create()
      local child = create { parent_run_id = parent, priority = 1 }
      assert.equal(child, claimed())
      assert(manager:cancel(child))
      local again = assert(manager:retry(child))
      assert.equal(parent, again.parent_run_id)
      assert.equal(parent, claimed())
      assert.is_nil(claimed())
      assert(manager:settle(child))
      assert.equal(again.run_id, claimed())
      assert(manager:set_status(again.run_id, "error"))
      assert(manager:cancel(parent))
      assert.equal(parent, support.refused("conflict", manager:retry(again.run_id)).run_id)
      assert.equal(0, manager:retry_all {})
      assert(store:delete(parent))
      assert.is_nil(assert(manager:retry(again.run_id)).parent_run_id)
    end)

    it("is refused a filter that says nothing it knows", function()
      for _, name in ipairs { "retry_all", "cancel_all" } do
        local call = manager[name]
        support.invalid("status", call(manager, { status = name == "retry_all" and "running" or "success" }))
        support.invalid("before", call(manager, { before = "yesterday" }))
        for _, field in ipairs { "thread_id", "user_id", "batch_id", "handler" } do
          support.invalid(field, call(manager, { [field] = "" }))
          support.invalid(field, call(manager, { batch_id = "B", [field] = "a\n" }))
        end
        support.raises("statsu", function() call(manager, { statsu = "error" }) end)
        support.raises(name, function() call(manager) end)
      end
    end)

    it("cancels all that a filter means, and their children, and no others", function()
      local mine = assert(manager:create("mine", { user_id = "u" }))
      local running = assert(manager:create("mine", { user_id = "u" }))
      assert.equal("started", manager:try_start(running.run_id))
      local child = assert(manager:create("other", { parent_run_id = mine.run_id }))
      local kept = create { handler = "h" }
      local of_batch = create { batch_id = "B" }
      assert.equal(1, manager:cancel_all { user_id = "u", status = "running" })
      assert.same({ "interrupted", true, "pending" },
        { running.status, running.abort_event:is_set(), mine.status })
      assert.equal(1, manager:cancel_all { user_id = "u" })
      assert.same({ "interrupted", "interrupted" }, { mine.status, child.status })
      assert.equal(0, manager:cancel_all { thread_id = "mine" })
      assert.equal(0, manager:cancel_all { batch_id = "B", thread_id = "mine" })
      assert.equal(1, manager:cancel_all { batch_id = "B", thread_id = "t" })
      assert.equal(0, manager:retry_all { batch_id = "B", thread_id = "mine", status = "interrupted" })
      assert.same({ "interrupted", "pending" }, { status(of_batch), status(kept) })
      assert.equal(0, manager:cancel_all { handler = "default" })
      assert.equal(0, manager:cancel_all { before = -10 })
      assert.equal(1, manager:cancel_all { handler = "h" })
      assert(store:put("m", { thread_id = "keel.machine/m", operation_kind = "dispatch" }))
      fill(200, { claimable = true })
      assert.equal(200, manager:cancel_all {})
      assert.same({ "m" }, support.pluck(store:list_inflight {}, "run_id"))
    end)

    it("FAMILY-5: a cancel of all counts those that another of them took along, wherever they stand", function()
      local parent = create()
      fill(130, { claimable = true, parent_run_id = parent })
      assert.equal(131, manager:cancel_all {})
      assert.same({}, store:list_inflight {})
    end)

    it("FAMILY-5: has a child of a run that was tried again as a child of its newest try", function()
      local parent = create { batch_id = "B" }
      assert.equal(parent, claimed())
      local child = create { parent_run_id = parent, batch_id = "B" }
      assert(manager:cancel(parent))
      assert(manager:settle(parent))
      assert.equal("interrupted", status(child))
      support.refused("conflict", manager:retry(child))
      local second = assert(manager:retry(parent)).run_id
      local again = assert(manager:retry(child))
      assert.equal(second, again.parent_run_id)
      assert(store:delete(parent))
      assert(manager:cancel(second))
      assert.equal("interrupted", status(again.run_id))
      local third = assert(manager:retry(second)).run_id
      assert.equal(third, assert(manager:retry(again.run_id)).parent_run_id)
    end)

    it("FAMILY-5: a cancel of all leaves what is made after it began, and goes on when its place is deleted", function()
      fill(70, { claimable = true })
      local late
      local once = listing("list_inflight", function(original, query, calls)
        if calls == 2 then
          assert(store:delete(query.after))
          clock.advance(1)
          late = create()
        end
        return original(query)
      end)
      assert.equal(69, once:cancel_all {})
      assert.same({ late }, support.pluck(store:list_inflight {}, "run_id"))
    end)
  end)
end)

support.each_shared("Cancelling all", function(place)
  it("FAMILY-5: asks those that run elsewhere, once, and takes over what a dead process has left", function()
    local uri = place()
    local store, theirs, dead = support.open(uri), support.open(uri), support.open(uri)
    local mine, other = support.manager(store), support.manager(theirs)
    local asked, own = assert(other:create "a"), assert(mine:create "b")
    local left = assert(support.manager(dead):create "c")
    assert.equal("started", other:try_start(asked.run_id))
    assert(theirs:put("theirs", { thread_id = "d", session_id = theirs:session_id() }))
    dead:close()
    assert.equal(4, mine:cancel_all {})
    assert.same({ "running", "interrupt" }, { store:get(asked.run_id).status, store:get(asked.run_id).cancel_action })
    for _, run_id in ipairs { own.run_id, left.run_id, "theirs" } do
      assert.equal("interrupted", store:get(run_id).status)
    end
    assert.equal(0, mine:cancel_all {})
    assert.same({}, store:verify())
  end)
end)

support.each_shared("Trying all again", function(place)
  it("FAMILY-5: loses and doubles nothing when processes that do it are killed in the middle", function()
    local uri = place()
    local store = support.open(uri, { durability = "off" })
    assert(store:transaction(function(tx)
      for i = 1, 400 do assert(tx:put("r" .. i, { thread_id = "t" .. i % 9, status = "error" })) end
    end))
    for _ = 1, 2 do
      local child = support.spawn([[
        local store = assert(keel.open((...), { durability = "off" }))
        print "up"
        io.flush()
        assert(keel.run_manager { store = store }):retry_all {}
      ]], { uri })
      child:expect "up"
      local last = store:event_high_water()
      store:wait_events({ next_event_id = last + 1, epoch = store:epoch() }, { timeout = 5 })
      child:kill()
    end
    assert(support.manager(store):retry_all {})
    local seen = {}
    for _, event in ipairs(support.events(store, { kinds = { "run_created" } })) do
      local old = event.data and event.data.retry_of
      if old then
        assert.is_nil(seen[old], old)
        seen[old] = true
      end
    end
    for i = 1, 400 do assert.is_true(seen["r" .. i]) end
    assert.same({}, store:verify())
  end)
end)
