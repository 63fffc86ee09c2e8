--- Children: runs that are stopped with the run that made them.
local keel = require "keel"
local kernel = require "keel.kernel"
local support = require "support"

support.each_store(function(open, backend)
  describe("A child", function()
    local store, manager
    before_each(function() store, manager = support.managed(open) end)
    after_each(function() assert.same({}, store:verify()) end)

    local made = 0
    local function create(parent, options)
      made, options = made + 1, options or {}
      options.parent_run_id = parent and (parent.run_id or parent)
      return assert(manager:create("t" .. made, options))
    end
    local function status(run) return store:get(run.run_id or run).status end
    local function kinds(run) return support.pluck(support.events(store, { run_id = run.run_id }), "kind") end

    it("FAMILY-3: is cancelled with its parent, down to the last, in the same transaction", function()
      local top = create()
      local child, free = create(top), create(top, { claimable = true })
      local below, other = create(child), create()
      local strange = create(other)
      local last = store:event_high_water()
      assert.same({ true, "cancelled" }, { manager:cancel(top.run_id) })
      for _, run in ipairs { top, child, free, below } do
        local row = store:get(run.run_id)
        assert.same({ "interrupted", "cancelled", "interrupt" }, { row.status, row.stop_reason, row.cancel_action })
      end
      assert.same({ "pending", "pending" }, { status(other), status(strange) })
      assert.equal(last + 4, store:event_high_water())
      local event = support.events(store, { run_id = below.run_id })[2]
      assert.same({ "run_finished", child.run_id }, { event.kind, event.data.parent_run_id })
    end)

    it("FAMILY-3: is in the records of this process what it is in the store, and has its signal", function()
      local top = create()
      local child = create(top)
      local runs = create(child)
      assert.equal("started", manager:try_start(runs.run_id))
      local heard
      runs.abort_event:on_set(function() heard = runs.abort_action end)
      assert(manager:cancel(top.run_id, { action = "rollback" }))
      assert.same({ "interrupted", "interrupted", true, "rollback", "rollback" },
        { child.status, runs.status, runs.finalizing, runs.cancel_action, heard })
      assert.is_true(child.abort_event:is_set())
      assert.is_true(manager:settle(runs.run_id))
    end)

    it("FAMILY-3: that has ended stays as it is, and so do those of a parent that ended by itself", function()
      local top = create()
      local child, done = create(top), create(top)
      assert(manager:set_status(done.run_id, "success"))
      assert(manager:try_start(top.run_id))
      assert(manager:set_status(top.run_id, "error"))
      assert.same({ false, "not_cancellable" }, { manager:cancel(top.run_id) })
      assert.same({ "pending", "success" }, { status(child), status(done) })
      local late = create(top)
      assert.equal("pending", late.status)
      assert(manager:set_status(child.run_id, "interrupted")) -- not cancelled
      assert.equal("pending", status(create(child)))
    end)

    it("FAMILY-3: is refused when its parent was cancelled, is itself, or is not there; nothing is written", function()
      local top = create()
      assert(manager:cancel(top.run_id))
      local last = store:event_high_water()
      for _, method in ipairs { "create", "create_or_reject" } do
        local err = support.refused("conflict", manager[method](manager, "t", { parent_run_id = top.run_id }))
        assert.same({ top.run_id, "t" }, { err.run_id, err.thread_id })
        err = support.refused("not_found", manager[method](manager, "t", { parent_run_id = support.unknown_id() }))
        assert.same({ support.unknown_id(), "t" }, { err.run_id, err.thread_id })
        support.invalid("parent_run_id", manager[method](manager, "t", { parent_run_id = "" }))
        support.raises("parent_run_id", function() manager[method](manager, "t", { parent_run_id = 1 }) end)
      end
      support.invalid("parent_run_id", store:put("own", { thread_id = "t", parent_run_id = "own" }))
      support.refused("not_found", store:admit("own", { thread_id = "t", parent_run_id = "nobody" }))
      assert.equal(last, store:event_high_water())
      assert(store:put("ended", { thread_id = "t", parent_run_id = "nobody", status = "success" }))
    end)

    it("keeps its parent, and does not go on once it was stopped with it", function()
      local top = create()
      local child, other = create(top), create()
      support.invalid("parent_run_id", store:put(child.run_id, { parent_run_id = other.run_id }))
      support.invalid("parent_run_id", store:put(child.run_id, { parent_run_id = keel.null }))
      support.invalid("parent_run_id", store:put(other.run_id, { parent_run_id = top.run_id }))
      assert(store:put(child.run_id, { parent_run_id = top.run_id, priority = 3 }))
      assert(manager:cancel(top.run_id))
      support.invalid("cancel_action", store:put(child.run_id, { cancel_action = keel.null }))
    end)

    it("FAMILY-3: is cancelled however its parent is: by a strategy, as superseded, as one to be claimed", function()
      local function parent(options)
        local top = assert(manager:create_or_reject("s", options))
        return top, create(top)
      end
      local _, first = parent { multitask_strategy = "interrupt" }
      local top, second = parent { multitask_strategy = "interrupt" }
      assert.equal("interrupted", first.status)
      assert.equal("started", manager:try_start(top.run_id))
      local waits, third = parent { multitask_strategy = "replace_pending" }
      assert.same({ "pending", "pending" }, { waits.status, second.status })
      assert(manager:create_or_reject("s", { multitask_strategy = "replace_pending" }))
      assert.same({ "interrupted", "pending" }, { third.status, second.status })
      local free = create(nil, { claimable = true })
      local fourth = create(free)
      assert.equal("interrupt", store:request_cancel(free.run_id, { action = "interrupt" }))
      assert.equal("interrupted", status(fourth))
    end)

    it("FAMILY-3: is put again as it is when its parent is gone, or was asked to stop", function()
      for _, change in ipairs {
        function(parent) assert(store:delete(parent)) end,
        function(parent) assert(store:request_cancel(parent, { action = "interrupt" })) end,
      } do
        local top = create(nil, { claimable = true }).run_id
        assert(store:put("child of " .. top, { thread_id = "c", parent_run_id = top }))
        change(top)
        assert(store:put("child of " .. top, { thread_id = "c", parent_run_id = top, priority = 3 }))
        assert.equal(3, store:get("child of " .. top).priority)
      end
    end)

    it("FAMILY-3: is cancelled when the row of its parent had vanished and is made again", function()
      local top = create()
      local child = create(top)
      assert(store:delete(top.run_id))
      assert.equal("pending", status(child))
      assert(manager:cancel(top.run_id))
      assert.same({ "interrupted", "interrupted" }, { status(top), status(child) })
    end)

    it("FAMILY-1: takes those with it that are after it, and their records are told", function()
      local top = create()
      local child = create(top)
      local after = create(nil, { after = { child.run_id } })
      assert(manager:cancel(top.run_id))
      assert.same({ "error", "dependency_failed" }, { after.status, after.error_code })
      assert.is_true(after.abort_event:is_set())
    end)

    it("FAMILY-3: is cancelled when others are after its parent, too, how that was to be", function()
      local top = create()
      local after, final = create(nil, { after = { top.run_id } }),
        create(nil, { after = { { run_id = top.run_id, on = "final" } } })
      local child = create(top)
      assert(manager:cancel(top.run_id, { action = "rollback" }))
      assert.same({ "error", "pending" }, { after.status, final.status })
      assert.same({ "interrupted", "rollback" }, { child.status, child.cancel_action })
    end)

    it("FAMILY-3: is left alone when the transaction that cancels its parent is rolled back", function()
      local top = create()
      local child = create(top)
      local tx = assert(store:begin())
      assert(tx:update_status(top.run_id, "interrupted", { cancel_action = "interrupt" }))
      assert.equal("interrupted", tx:get(child.run_id).status)
      tx:rollback()
      assert.same({ "pending", "pending" }, { status(top), status(child) })
      assert(store:transaction(function(again)
        assert(again:update_status(top.run_id, "interrupted", { cancel_action = "interrupt" }))
      end))
      assert.equal("interrupted", status(child))
      assert.same({ "run_created", "run_finished" }, kinds(child))
    end)

    local function family(count, parent_of)
      assert(store:transaction(function(tx)
        assert(tx:put("r1", { thread_id = "t", claimable = true }))
        for i = 2, count do
          assert(tx:put("r" .. i, { thread_id = "t", claimable = true, parent_run_id = "r" .. parent_of(i) }))
        end
      end))
    end
    local shapes = { ["a chain"] = function(i) return i - 1 end, ["a wide family"] = function() return 1 end,
      ["a tree"] = function(i) return i // 2 end }
    for shape, parent_of in pairs(shapes) do
      it("FAMILY-3: is cancelled in " .. shape .. " of a thousand", function()
        local count = backend == "postgres" and 50 or 1000
        family(count, parent_of)
        assert(manager:cancel "r1")
        assert.same({}, store:list_inflight {})
        assert.equal(2 * count, store:event_high_water())
      end)
    end

    if backend ~= "postgres" then
      it("FAMILY-3: of a larger family is cancelled in further transactions, by the same call", function()
        family(2500, function(i) return i // 3 + 1 < i and i // 3 + 1 or 1 end)
        assert(manager:cancel "r1")
        assert.same({}, store:list_inflight {})
      end)

      it("FAMILY-3: of a larger family is cancelled with all that a filter means, by the same call", function()
        family(1500, function() return 1 end)
        assert(store:put("r1", { user_id = "u" }))
        assert.equal(1, manager:cancel_all { user_id = "u" })
        assert.same({}, store:list_inflight {})
      end)

      it("FAMILY-3: of a larger family is cancelled when a strategy cancels its parent, by the same call", function()
        assert(store:put("top", { thread_id = "top", claimable = true }))
        assert(store:transaction(function(tx)
          for i = 1, 1500 do assert(tx:put("c" .. i, { thread_id = "t", claimable = true, parent_run_id = "top" })) end
        end))
        local new = assert(manager:create_or_reject("top", { strategy = "interrupt" })).run_id
        assert.same({ new }, support.pluck(store:list_inflight {}, "run_id"))
        assert.same({ "interrupted", "interrupted" }, { status "top", status "c1500" })
        assert.is_false(store:is_behind())
      end)

      it("FAMILY-3: whose parent's killer died in between is cancelled by the next tick", function()
        family(1500, function() return 1 end)
        assert(store:transaction(function(tx) assert(tx:request_cancel("r1", { action = "interrupt" })) end))
        assert.same({}, store:verify())
        assert.equal(499, #store:list_inflight { limit = 1000 })
        assert.is_true(store:is_behind())
        local tx = assert(store:begin())
        assert(tx:put("source", { thread_id = "s" }) and tx:put("other", { thread_id = "s", after = { "source" } }))
        assert(tx:update_status("source", "interrupted"))
        assert.same({}, tx:list_inflight {}) -- the rest is worked off, and that is undone
        assert.is_nil(tx:claim_next()) -- sees that nothing is left
        tx:rollback()
        assert.is_true(store:is_behind())
        support.refused("conflict", manager:create("t", { parent_run_id = "r1" }))
        assert(manager:tick())
        assert.same({}, store:list_inflight {})
      end)
    end
  end)
end)

support.each_shared("A child of others", function(place)
  local function world()
    local uri = place()
    local ours, theirs = support.open(uri), support.open(uri)
    return support.manager(ours), support.manager(theirs), ours, theirs, uri
  end

  it("FAMILY-3: that runs in another live session is asked, and stays running until it answers", function()
    local mine, other, store = world()
    local top = assert(mine:create "t")
    local child = assert(other:create("c", { parent_run_id = top.run_id }))
    assert.equal("started", other:try_start(child.run_id))
    local below = assert(other:create("d", { parent_run_id = child.run_id }))
    assert.same({ true, "cancelled" }, { mine:cancel(top.run_id) })
    local row = store:get(child.run_id)
    assert.same({ "running", "interrupt" }, { row.status, row.cancel_action })
    assert.equal("it is running, and was asked to stop with its parent, run " .. top.run_id,
      mine:explain(child.run_id).reason)
    assert.equal("interrupted", store:get(below.run_id).status)
    support.refused("conflict", other:create("e", { parent_run_id = child.run_id }))
    local report = assert(other:heartbeat())
    assert.same({ child }, report.cancel_requested)
    assert.is_true(child.abort_event:is_set())
    assert(other:set_status(child.run_id, "interrupted"))
    assert.same({}, store:verify())
  end)

  it("FAMILY-3: is cancelled when its parent, which runs elsewhere, is asked to stop", function()
    local mine, other, store = world()
    local top = assert(other:create "t")
    assert.equal("started", other:try_start(top.run_id))
    local child = assert(mine:create("c", { parent_run_id = top.run_id }))
    assert.same({ true, "requested" }, { mine:cancel(top.run_id) })
    assert.same({ "running", "interrupted" }, { store:get(top.run_id).status, child.status })
    local err = support.refused("conflict", mine:create("e", { parent_run_id = top.run_id }))
    assert.matches("was asked to stop", err.message)
    assert(other:set_status(top.run_id, "success"))
    support.refused("conflict", mine:create("e", { parent_run_id = top.run_id }))
    assert.same({}, store:verify())
  end)

  it("FAMILY-1: fails in the records here what is after a run elsewhere that is cancelled", function()
    local mine, other = world()
    local source = assert(other:create "t")
    local after = assert(mine:create("c", { after = { source.run_id } }))
    assert.same({ true, "cancelled" }, { mine:cancel(source.run_id) })
    assert.same({ "error", "dependency_failed", true }, { after.status, after.error_code, after.abort_event:is_set() })
  end)

  it("FAMILY-3: whose owner is dead is interrupted at once, under a new fence", function()
    local mine, other, store, theirs = world()
    local top = assert(mine:create "t")
    local child = assert(other:create("c", { parent_run_id = top.run_id }))
    assert.equal("started", other:try_start(child.run_id))
    local fence = store:get(child.run_id).fence
    theirs:close()
    assert(mine:cancel(top.run_id))
    local row = store:get(child.run_id)
    assert.same({ "interrupted", fence + 1 }, { row.status, row.fence })
    assert.same({}, store:verify())
  end)

  it("FAMILY-3: is never left behind by a cancel at the same time: it is cancelled, or refused", function()
    local mine, _, store, _, uri = world()
    local top = assert(mine:create "t")
    local child = support.spawn([[
      local store = assert(keel.open((...)))
      local runs = assert(keel.run_manager { store = store })
      io.write "up\n"
      io.flush()
      local made, err = 0, nil
      repeat
        local run
        run, err = runs:create("c" .. made, { parent_run_id = select(2, ...), claimable = true })
        made = made + (run and 1 or 0)
      until not run
      print(made, err.code)
    ]], { uri, top.run_id })
    child:expect "up"
    while #store:list_inflight {} < 5 do kernel.sleep(0.001) end
    assert(mine:cancel(top.run_id))
    assert.matches("conflict", child:finish())
    assert.same({}, store:list_inflight {})
    assert.same({}, store:verify())
  end)
end)
