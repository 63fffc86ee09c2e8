local support = require "support"

support.each_store(function(open)
  describe("list_by_thread", function()
    local clock, store, manager
    before_each(function()
      clock = support.clock()
      store = open { clock = clock.read, monotonic = clock.read }
      manager = support.manager(store)
    end)

    local function create(thread, options)
      clock.advance(1)
      return assert(manager:create(thread, options))
    end

    it("RUN-14: gives only the thread's runs, newest first", function()
      local first, _, third = create "t", create "other", create "t"
      assert.same({ third.run_id, first.run_id }, support.pluck(manager:list_by_thread "t", "run_id"))
      assert.same({}, manager:list_by_thread "nothing")
    end)

    it("RUN-14: gives equal times in insertion order", function()
      local ids = {}
      for i = 1, 5 do ids[i] = assert(manager:create "t").run_id end
      assert.same(ids, support.pluck(manager:list_by_thread "t", "run_id"))
      local restarted = support.manager(store)
      assert.same(ids, support.pluck(restarted:list_by_thread "t", "run_id"))
    end)

    it("RUN-14: an older live run never hides a newer stored one", function()
      create "t"
      local stranger = support.manager(store)
      clock.advance(1)
      local newer = assert(stranger:create "t")
      local found = manager:list_by_thread("t", { limit = 1 })
      assert.same({ newer.run_id }, support.pluck(found, "run_id"))
      assert.is_true(found[1].store_only)
    end)

    it("RUN-14: a newer live run stands before older stored ones, within the limit", function()
      local stranger = support.manager(store)
      for _ = 1, 3 do
        clock.advance(1)
        assert(stranger:create "t")
      end
      local mine = create "t"
      local found = manager:list_by_thread("t", { limit = 2 })
      assert.equal(2, #found)
      assert.is_true(rawequal(mine, found[1]))
    end)

    it("RUN-14: honours the limit, and refuses one that is none", function()
      for _ = 1, 3 do create "t" end
      assert.equal(2, #manager:list_by_thread("t", { limit = 2 }))
      support.invalid("limit", manager:list_by_thread("t", { limit = 0 }))
      support.refused("limit_too_large", manager:list_by_thread("t", { limit = 1001 }))
    end)

    it("RUN-16: a mix of restarted and new runs lists both; the live one is the same table", function()
      local old = create "t"
      manager = support.manager(store)
      local new = create "t"
      local found = manager:list_by_thread "t"
      assert.is_true(rawequal(new, found[1]))
      assert.same({ old.run_id, true }, { found[2].run_id, found[2].store_only })
      assert.is_true(rawequal(new, manager:get(new.run_id)))
    end)

    it("RUN-18: shows the live record instead of its row, as get does", function()
      local run = create "t"
      assert(store:put(run.run_id, { priority = 77 }))
      assert.is_true(rawequal(run, manager:get(run.run_id)))
      assert.is_true(rawequal(run, manager:list_by_thread("t")[1]))
      assert.not_equal(77, run.priority)
    end)

    it("RUN-19: another user's run looks unknown, live or stored, in get and in listing", function()
      local ann, bob, nobody = create("t", { user_id = "ann" }), create("t", { user_id = "bob" }), create "t"
      for _, reader in ipairs { manager, support.manager(store) } do
        assert.equal(ann.run_id, reader:get(ann.run_id, { user_id = "ann" }).run_id)
        local run, err = reader:get(bob.run_id, { user_id = "ann" })
        assert.same({}, { run, err })
        assert.is_nil(reader:get(nobody.run_id, { user_id = "ann" }))
        assert.same({ ann.run_id }, support.pluck(reader:list_by_thread("t", { user_id = "ann" }), "run_id"))
        assert.equal(3, #reader:list_by_thread "t")
      end
    end)
  end)

  describe("A store that fails to read", function()
    for how, err in pairs { returned = support.broken(), raised = "no such table: runs" } do
      it("RUN-20: leaves the live runs, with the error as second value (error " .. how .. ")", function()
        local store = open()
        assert(support.manager(store):create "t")
        local manager = support.manager((support.wrap(store, {
          get = support.fail(math.huge, err), list_by_thread = support.fail(math.huge, err),
        })))
        local live = assert(manager:create "t")
        local found, failure = manager:list_by_thread "t"
        assert.same({ live.run_id }, support.pluck(found, "run_id"))
        assert.matches("no such table", failure.message)
        assert.is_true(rawequal(live, (manager:get(live.run_id))))
        local run
        run, failure = manager:get(support.unknown_id())
        assert.is_nil(run)
        assert.matches("no such table", failure.message)
      end)
    end

    it("RUN-20: is asked again when the error is transient", function()
      local store = open()
      local stored = assert(support.manager(store):create "t")
      local manager = support.manager((support.wrap(store, {
        get = support.fail(1, support.busy()), list_by_thread = support.fail(1, support.busy()),
      })))
      assert.equal(stored.run_id, assert(manager:get(stored.run_id)).run_id)
      assert.equal(1, #manager:list_by_thread "t")
    end)
  end)

  describe("has_inflight", function()
    it("RUN-21: is true for pending and running runs, false once all are final", function()
      local manager = support.manager(open())
      assert.is_false(manager:has_inflight "t")
      local one, two = assert(manager:create "t"), assert(manager:create "t")
      assert(manager:set_status(one.run_id, "running"))
      assert.is_true(manager:has_inflight "t")
      assert(manager:set_status(one.run_id, "success"))
      assert.is_true(manager:has_inflight "t")
      assert(manager:cancel(two.run_id))
      assert.is_false(manager:has_inflight "t")
      assert.is_false(manager:has_inflight "other")
    end)

    it("RUN-21: counts what others have in flight on the thread", function()
      local store = open()
      local run = assert(support.manager(store):create "t")
      local manager = support.manager(store)
      assert.is_true(manager:has_inflight "t")
      assert(store:update_status(run.run_id, "success"))
      assert.is_false(manager:has_inflight "t")
    end)
  end)
end)
