--- Batches: how far they are, waiting for them, listing them.
local Attachment = require "keel.manager.attachment"
local keel = require "keel"
local support = require "support"

support.each_store(function(open)
  describe("A batch", function()
    local store, manager
    before_each(function() store, manager = support.managed(open) end)

    local function create(options)
      options = options or {}
      options.claimable, options.batch_id = true, options.batch_id or "B"
      return assert(manager:create("t", options)).run_id
    end
    local function claimed() return assert(manager:claim_next()).run_id end
    local function finish(run_id, as) assert(manager:set_status(run_id, as or "success")) end
    local function counts(given)
      local all = { total = 0, done = 0 }
      for _, status in ipairs { "pending", "running", "success", "error", "timeout", "interrupted" } do
        all[status] = given[status] or 0
        all.total = all.total + all[status]
        if status ~= "pending" and status ~= "running" then all.done = all.done + all[status] end
      end
      return all
    end

    it("FAMILY-4: counts its runs by status, whatever they wait for", function()
      assert.same(counts {}, manager:batch "B")
      local ends = { "success", "error", "timeout", "interrupted" }
      for _, status in ipairs(ends) do
        create()
        finish(claimed(), status)
      end
      create()
      claimed()
      create()
      create { scheduled_at = 60 }
      create { after = { create { slots = { { name = "s", max = 1 } } } } }
      create { batch_id = "other" }
      assert(manager:create("t"))
      assert.same(counts { pending = 4, running = 1, success = 1, error = 1, timeout = 1, interrupted = 1 },
        manager:batch "B")
      support.invalid("batch_id", manager:batch "")
      support.raises("batch", function() manager:batch(1) end)
    end)

    it("FAMILY-4: counts no runs of machines", function()
      local dispatcher = keel.dispatcher { store = store }
      assert(dispatcher:create { machine = "m", test_dir_hash = "h", batch_id = "B" })
      create()
      assert.equal(1, manager:batch("B").total)
      assert.equal(1, #store:list_runs { batch_id = "B" })
      assert.equal(1, #store:list_inflight { batch_id = "B" })
    end)

    it("lists its runs, the newest first, and those in flight, the oldest first, in pages", function()
      local ids = {}
      for i = 1, 5 do ids[i] = create { user_id = i % 2 == 0 and "even" or nil } end
      create { batch_id = "other" }
      assert.equal(ids[1], claimed())
      finish(ids[1])
      local function listed(method, query)
        query.batch_id = "B"
        return support.pluck(assert(manager[method](manager, query)), "run_id")
      end
      assert.same({ ids[5], ids[4] }, listed("list_runs", { limit = 2 }))
      assert.same({ ids[3], ids[2] }, listed("list_runs", { limit = 2, after = ids[4] }))
      assert.same({ ids[4], ids[2] }, listed("list_runs", { user_id = "even" }))
      assert.same({ ids[1] }, listed("list_runs", { status = "success" }))
      assert.same({ ids[2], ids[3] },
        support.pluck(assert(store:list_inflight { batch_id = "B", limit = 2 }), "run_id"))
      assert.same({ ids[4], ids[5] },
        support.pluck(assert(store:list_inflight { batch_id = "B", after = ids[3] }), "run_id"))
      support.invalid("batch_id", store:list_runs { batch_id = "B", thread_id = "t" })
      support.invalid("batch_id", store:list_inflight { batch_id = "B", thread_id = "t" })
      support.invalid("batch_id", store:list_inflight { batch_id = "B", overdue = true })
      support.invalid("batch_id", store:list_inflight { batch_id = "" })
      support.refused("not_found", manager:list_runs { batch_id = "B", after = support.unknown_id() })
    end)

    it("lists live records for their rows", function()
      local run = assert(manager:create("t", { batch_id = "B" }))
      assert.equal(run, manager:list_runs({ batch_id = "B" })[1])
    end)

    -- A manager that takes a step whenever it is about to wait, and does not wait while there is another.
    local function stepping(steps)
      local busy, step = false, 0
      return support.manager(support.wrap(store, { read_events = function(original, ...)
        if not busy and steps[step + 1] then
          busy, step = true, step + 1
          steps[step]()
          busy = false
        end
        return original(...)
      end, wait_events = function(original, ...) return steps[step + 1] and true or original(...) end }))
    end

    it("FAMILY-4: is waited for until all have ended, those that are made meanwhile too", function()
      support.refused("not_found", manager:wait_batch "B")
      local first, second = create(), create()
      local err = support.refused("timeout", manager:wait_batch("B", { timeout = 0 }))
      assert.same({ "B", "the batch B has not ended in time, with 2 of 2 runs in flight" },
        { err.batch_id, err.message })
      claimed()
      finish(first, "error")
      support.refused("timeout", manager:wait_batch("B", { timeout = 0 }))
      claimed()
      local waiting = stepping {
        function() finish(second) create() end,
        function() finish(claimed()) end,
      }
      assert.same(counts { success = 2, error = 1 }, waiting:wait_batch("B", { timeout = 20 }))
      assert.same(counts { success = 2, error = 1 }, manager:wait_batch "B")
      support.invalid("timeout", manager:wait_batch("B", { timeout = -1 }))
      support.raises("timeuot", function() manager:wait_batch("B", { timeuot = 1 }) end)
    end)

    it("FAMILY-4: is waited for with what comes into it behind those that have ended", function()
      local early = assert(manager:create("u", { claimable = true })).run_id
      create()
      assert.equal(early, assert(manager:claim_next { threads = { "u" } }).run_id)
      local waiting = stepping {
        function() finish(claimed()) assert(store:put(early, { batch_id = "B" })) end,
        function() finish(early, "error") end,
      }
      assert.same(counts { success = 1, error = 1 }, waiting:wait_batch("B", { timeout = 20 }))
    end)

    it("FAMILY-4: is waited for without those that are deleted meanwhile", function()
      local first = create()
      create()
      local waiting = stepping {
        function() assert(store:delete(first)) end,
        function() finish(claimed()) end,
      }
      assert.same(counts { success = 1 }, waiting:wait_batch("B", { timeout = 20 }))
    end)

    it("FAMILY-4: is waited for as long as the timeout says, however many runs it has", function()
      local at = 0
      local function slowly()
        at = at + 6
        finish(claimed())
      end
      local function in_vain() at = at + 6 end
      local waiting = stepping { slowly, slowly, in_vain, slowly, slowly }
      Attachment.new(waiting, {}).client.monotonic = function() return at end
      for _ = 1, 4 do create() end
      local err = support.refused("timeout", waiting:wait_batch("B", { timeout = 10 }))
      assert.equal("the batch B has not ended in time, with 2 of 4 runs in flight", err.message)
    end)
  end)
end)
