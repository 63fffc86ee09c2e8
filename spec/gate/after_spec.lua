--- Runs that start after others.
local support = require "support"

support.each_store(function(open, backend)
  describe("A run that is after others", function()
    local store, manager
    local made
    before_each(function()
      store, manager = support.managed(open)
      made = 0
    end)

    -- On three threads, one after the other.
    local function create(options)
      options = options or {}
      options.claimable = true
      made = made + 1
      return assert(manager:create("t" .. made % 3, options)).run_id
    end
    local function status(run_id) return store:get(run_id).status end
    local function claimed()
      local run = manager:claim_next()
      return run and run.run_id
    end
    local function finish(run_id, as) assert(manager:set_status(run_id, as or "success")) end

    it("FAMILY-1: starts when all of them have succeeded", function()
      local a, b = create(), create()
      local last = create { after = { a, { run_id = b } } }
      assert.same({ { on = "success", run_id = a }, { on = "success", run_id = b } }, store:get(last).after)
      assert.same({ a, b, nil }, { claimed(), claimed(), claimed() })
      assert.same({ "after", a }, { store:gate(last).gate, store:gate(last).run_id })
      assert.equal(2, #manager:explain(last).reasons)
      finish(a)
      assert.is_nil(claimed())
      finish(b)
      assert.equal(last, claimed())
      assert.same({}, store:verify())
    end)

    it("FAMILY-1: fails with one that ends otherwise, in the same transaction, and so on down the line", function()
      local first = create()
      local chain = { first }
      for i = 2, 50 do chain[i] = create { after = { chain[i - 1] } } end
      assert.equal(first, claimed())
      finish(first, "error")
      for i = 2, 50 do
        local row = store:get(chain[i])
        assert.same({ "error", "dependency_failed" }, { row.status, row.error_code })
        assert.matches(chain[i - 1], row.error, 1, true)
      end
      assert.is_nil(claimed())
      assert.same({}, store:verify())
    end)

    if backend ~= "postgres" then
      it("FAMILY-1: fails a chain that is longer than one transaction takes, and none of it starts", function()
        local previous = create()
        local first = previous
        assert(store:transaction(function(tx)
          for i = 1, 1500 do
            assert(tx:put("c" .. i, { thread_id = "c", claimable = true, after = { previous } }))
            previous = "c" .. i
          end
          return true
        end))
        assert.equal(first, claimed())
        local tx = assert(store:begin())
        assert(tx:update_status(first, "timeout"))
        assert(tx:commit())
        assert.same({ "error", "pending" }, { status "c1000", status "c1001" })
        assert.is_nil(claimed()) -- who looks for something to do goes on with it
        assert.same({ "error", "dependency_failed" }, { status "c1500", store:get("c1500").error_code })
        assert.same({}, store:verify())
      end)

      it("FAMILY-2: with `final` starts once that has settled, though not all that it failed know of it", function()
        local source = create()
        assert.equal(source, claimed())
        local last = create { after = { { run_id = source, on = "final" } } }
        assert(store:transaction(function(tx)
          for i = 1, 1500 do assert(tx:put("d" .. i, { thread_id = "d" .. i, after = { source } })) end
          return true
        end))
        local tx = assert(store:begin())
        assert(tx:update_status(source, "interrupted", { finalizing = true }))
        assert(tx:commit())
        tx = assert(store:begin())
        assert(tx:settle(source))
        assert(tx:commit())
        assert.equal(last, claimed())
        assert.equal("error", status "d1500")
        assert.same({}, store:verify())
      end)

      for what, end_as in pairs { ["what it lets start"] = "success", ["what it fails"] = "error" } do
        it("FAMILY-1: " .. what .. " of more than a thousand that have owners does not wait for a claim", function()
          local source = create()
          assert(store:transaction(function(tx)
            for i = 1, 1100 do
              assert(tx:put("d" .. i, { thread_id = "d" .. i, session_id = store:session_id(), after = { source } }))
            end
            return true
          end))
          local tx = assert(store:begin())
          assert(tx:update_status(source, end_as))
          assert(tx:commit())
          if end_as == "success" then
            assert.equal("open", store:gate("d1100").gate)
            assert(store:start("d1100"))
            assert.equal("running", status "d1100")
          end
          assert(manager:tick())
          assert.equal(end_as == "success" and "open" or "error",
            end_as == "success" and store:gate("d1099").gate or status "d1099")
          assert.same({}, store:verify())
        end)
      end
    end

    for how, finish_it in pairs {
      ["set_status"] = function(run_id) return manager:set_status(run_id, "error") end,
      ["completion"] = function(run_id) return manager:update_run_completion(run_id, { status = "error" }) end,
      ["cancel"] = function(run_id) return manager:cancel(run_id) end,
      ["fail_pending"] = function(run_id) return manager:fail_pending(run_id) end,
      ["delete"] = function(run_id) return manager:delete(run_id) end,
    } do
      for whose, claimable in pairs { ["its own"] = false, ["anybody's"] = true } do
        it("FAMILY-1: brings the records of what it fails up to date, down the line; by " .. how .. " of " .. whose,
          function()
            local first = assert(manager:create("a", { batch_id = "B", claimable = claimable or nil })).run_id
            local second = assert(manager:create("b", { after = { { batch_id = "B", on = "success" } } }))
            local third = assert(manager:create("c", { after = { second.run_id } }))
            local kept = assert(manager:create("d", { after = { { run_id = second.run_id, on = "final" } } }))
            if how == "set_status" or how == "completion" then
              if claimable then assert(store:put(first, { session_id = store:session_id() })) end
            end
            assert(finish_it(first))
            assert.same({ "error", "error", "pending" }, { second.status, third.status, kept.status })
            assert.equal(store:get(third.run_id).error, third.error)
            assert.is_true(third.abort_event:is_set())
            assert.equal(second, manager:get(second.run_id))
          end)
      end
    end

    it("FAMILY-2: with `final` starts whatever became of it, once that has settled", function()
      local a = create()
      local after, strict = create { after = { { run_id = a, on = "final" } } }, create { after = { a } }
      assert.equal(a, claimed())
      assert(manager:cancel(a))
      assert.equal("error", status(strict)) -- at the final status
      assert.is_nil(claimed())
      assert(manager:settle(a))
      assert.equal(after, claimed())
    end)

    it("FAMILY-2: takes one that was deleted before it came to rest as it had ended", function()
      local a = create()
      local after = create { after = { a } }
      assert.equal(a, claimed())
      assert(store:update_status(a, "success", { finalizing = true }))
      assert.is_nil(claimed())
      assert(store:delete(a))
      assert.equal(after, claimed())
    end)

    it("FAMILY-2: with `final` takes one that has failed already", function()
      local a = create()
      assert.equal(a, claimed())
      finish(a, "error")
      local run_id = create { after = { { run_id = a, on = "final" } } }
      assert.equal(run_id, claimed())
    end)

    it("FAMILY-2: takes one that was deleted in flight as interrupted, and one that has ended as it had", function()
      local a, done = create(), create()
      local after, final = create { after = { a } }, create { after = { { run_id = a, on = "final" } } }
      assert(store:delete(a))
      assert.same({ "error", "pending" }, { status(after), status(final) })
      assert.same({ done, final }, { claimed(), claimed() })
      finish(done)
      local next_one = create { after = { done } }
      assert.equal(next_one, claimed())
      finish(final, "error")
      local late = assert(manager:create("t", { after = { final } }))
      assert.same({ "error", "dependency_failed" }, { late.status, late.error_code })
      assert.matches(final, late.error, 1, true)
      assert.equal(store:get(late.run_id).error, late.error)
      assert.equal("error", status(late.run_id))
      assert.same({}, store:verify())
    end)

    it("FAMILY-2: takes one that was pruned as it had ended", function()
      local a, b, c = create(), create(), create()
      local after = create { after = { a, { run_id = b, on = "final" }, c } }
      assert.same({ a, b, c }, { claimed(), claimed(), claimed() })
      finish(a)
      finish(b, "error")
      assert.equal(2, assert(store:prune { before = 60 }).runs)
      assert.is_nil(store:get(a))
      assert.same({ "after", c }, { store:gate(after).gate, store:gate(after).run_id })
      finish(c)
      assert(store:prune { before = 60 })
      assert.equal(after, claimed())
      support.refused("not_found", manager:create("t", { after = { a } }))
      assert.same({}, store:verify())
    end)

    it("FAMILY-2: is explained with all that it waits for", function()
      local sources = {}
      for i = 1, 256 do
        sources[i] = "s" .. i
        assert(store:put(sources[i], { thread_id = "s" }))
      end
      local run = assert(manager:create("t", { after = sources }))
      local ids = support.pluck(manager:explain(run.run_id).reasons, "run_id")
      assert.equal(256, #ids)
      assert.same({ "s1", "s256" }, { ids[1], ids[256] })
    end)

    it("FAMILY-2: is refused when one is not there, and when it would wait for itself through its batch", function()
      support.refused("not_found", manager:create("t", { after = { support.unknown_id() } }))
      support.refused("not_found", manager:create("t", { after = { { batch_id = "nobody's" } } }))
      local member = create { batch_id = "B" }
      support.invalid("after", manager:create("t", { batch_id = "B", after = { { batch_id = "B" } } }))
      local waits = create { after = { { batch_id = "B" } } }
      support.invalid("after", manager:create("t", { batch_id = "B", after = { waits } }))
      assert.equal(2, #store:list_inflight {})
      assert.equal(member, claimed())
      assert.same({}, store:verify())
    end)

    it("FAMILY-4: after a batch waits for what is in flight of it and was made before", function()
      local a, b = create { batch_id = "B" }, create { batch_id = "B" }
      local sum = create { after = { { batch_id = "B" } } }
      local late = create { batch_id = "B" }
      assert.same({ a, b, late }, { claimed(), claimed(), claimed() })
      finish(a)
      finish(b, "error")
      assert.equal(sum, claimed())
    end)

    it("FAMILY-4: after a batch does not wait for what a dispatcher calls the same", function()
      assert(store:put("m", { thread_id = "keel.machine/m", operation_kind = "dispatch", batch_id = "B" }))
      support.refused("not_found", manager:create("t", { after = { { batch_id = "B" } } }))
      local a = create { batch_id = "B" }
      local sum = create { after = { { batch_id = "B" } } }
      assert.equal(a, claimed())
      finish(a)
      assert.equal(sum, claimed())
    end)

    it("FAMILY-5: a retry by hand of what failed starts nothing that was failed with it", function()
      local a = create()
      local after = create { after = { a } }
      assert.equal(a, claimed())
      finish(a, "error")
      local again = create { retry_of = a }
      assert.equal(again, claimed())
      finish(again)
      assert.is_nil(claimed())
      assert.equal("error", status(after))
    end)

    it("GATE-1: does not stand in a queue while it waits, nor is it put off", function()
      local a = create { scheduled_at = 3600 }
      local blocked = assert(manager:create_or_reject("q", { multitask_strategy = "enqueue", after = { a } }))
      local free = assert(manager:create_or_reject("q", { multitask_strategy = "enqueue" }))
      assert.equal("waiting", manager:try_start(blocked.run_id))
      assert.equal("started", manager:try_start(free.run_id))
      assert(store:delete(a))
      assert.equal("error", status(blocked.run_id))
    end)

    for what, after in pairs { ["a number"] = { 1 }, ["an unknown word"] = { { run_id = "x", on = "error" } },
      ["nothing"] = { {} }, ["a run and a batch"] = { { run_id = "x", batch_id = "y" } }, ["an empty id"] = { "" } } do
      it("FAMILY-2: is refused after " .. what .. ", by place", function()
        assert.matches("after[1]", support.invalid("after", manager:create("t", { after = after })).message, 1, true)
      end)
    end
  end)
end)
