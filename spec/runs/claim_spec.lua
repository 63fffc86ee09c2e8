--- Claiming through a manager: what one process leaves, another takes.
local support = require "support"

support.each_store(function(open)
  describe("A manager that claims", function()
    local store, producer, worker
    before_each(function()
      store = open { durability = "off" }
      producer, worker = support.manager(store), support.manager(store)
    end)

    it("takes a claimable run: it is running, live and its own", function()
      local made = assert(producer:create("t", { claimable = true, kwargs = { n = 1 } }))
      local run = assert(worker:claim_next())
      assert.same({ made.run_id, "running", false }, { run.run_id, run.status, run.store_only })
      assert.same({ n = 1 }, run.kwargs)
      assert.is_true(rawequal(run, worker:get(run.run_id)))
      assert.is_false(run.abort_event:is_set())
      assert(worker:update_run_completion(run.run_id, { status = "success", total_tokens = 5 }))
      assert.same({ "success", 5 }, { store:get(run.run_id).status, store:get(run.run_id).total_tokens })
    end)

    it("gets nil when there is nothing to take", function()
      assert(producer:create "t")
      local run, err = worker:claim_next()
      assert.same({}, { run, err })
    end)

    it("takes the highest priority first, then the oldest, of the threads it asked for", function()
      local ids = {}
      for i, priority in ipairs { 0, 5, 5 } do
        ids[i] = assert(producer:create("t" .. i, { claimable = true, priority = priority })).run_id
      end
      assert.equal(ids[3], assert(worker:claim_next { threads = { "t1", "t3" } }).run_id)
      assert.equal(ids[2], assert(worker:claim_next()).run_id)
      assert.equal(ids[1], assert(worker:claim_next { limit = 1 }).run_id)
    end)

    it("takes nothing but what is for its handlers, however many it names", function()
      local strategy = { multitask_strategy = "enqueue" }
      for _, handler in ipairs { false, "other", "mine" } do
        local options = { claimable = true, handler = handler or nil, priority = handler == "mine" and -1 or 0 }
        assert(producer:create("plain", options))
        options.multitask_strategy = strategy.multitask_strategy
        assert(producer:create_or_reject("in turn of " .. tostring(handler), options))
      end
      for count = 1, 9 do
        local names = {}
        for i = 1, count do names[i] = "h" .. i end
        assert.is_nil((worker:claim_next { handlers = names }))
      end
      for _ = 1, 2 do
        assert.equal("mine", assert(worker:claim_next { handlers = { "a", "b", "c", "d", "mine" } }).handler)
      end
      assert.is_nil((worker:claim_next { handlers = { "a", "b", "c", "d", "mine" } }))
    end)

    it("finds what it has a handler for on a thread behind any number of others", function()
      for _ = 1, 70 do assert(producer:create("t", { claimable = true, handler = "other" })) end
      local before = assert(producer:create "t")
      for i = 1, 70 do
        assert(store:put("blocked " .. i,
          { thread_id = "t", claimable = true, handler = "own", waits_for = { before.run_id } }))
      end
      local own = assert(producer:create("t", { claimable = true, handler = "own" }))
      assert.equal(own.run_id, assert(worker:claim_next { threads = { "t" }, handlers = { "own" } }).run_id)
      assert.is_nil((worker:claim_next { threads = { "t" }, handlers = { "own" } }))
    end)

    it("is the only one who can start it: neither try_start nor set_status does, in any process", function()
      local run = assert(producer:create("t", { claimable = true }))
      for _, manager in ipairs { producer, worker } do
        support.refused("stale_owner", manager:try_start(run.run_id))
        support.refused("stale_owner", manager:set_status(run.run_id, "running"))
      end
      assert.equal("pending", store:get(run.run_id).status)
      assert.equal(run.run_id, assert(worker:claim_next()).run_id)
    end)

    it("POLICY-6: takes no more of a thread than its strategy lets run", function()
      local options = { claimable = true, multitask_strategy = "limit", strategy_options = { max = 2 } }
      for _ = 1, 3 do assert(producer:create_or_reject("t", options)) end
      local one, two = assert(worker:claim_next()), assert(worker:claim_next())
      assert.is_nil((worker:claim_next()))
      assert(worker:set_status(one.run_id, "success"))
      assert.truthy((worker:claim_next()))
      assert.equal("running", two.status)
    end)

    it("RUN-30: does not take one that was cancelled", function()
      local run = assert(producer:create("t", { claimable = true }))
      assert.same({ true, "cancelled" }, { producer:cancel(run.run_id) })
      assert.is_nil((worker:claim_next()))
    end)

    it("POLICY-5: does not take one before its time", function()
      local clock = support.clock()
      store = open { clock = clock.read, monotonic = clock.read, durability = "off" }
      producer, worker = support.manager(store), support.manager(store)
      assert(producer:create_or_reject("t", { claimable = true, multitask_strategy = "debounce" }))
      assert.is_nil((worker:claim_next()))
      clock.advance(1)
      assert.truthy((worker:claim_next()))
    end)

    it("POLICY-4: one that was claimed is not replaced any more, one that waits to be is", function()
      local options = { claimable = true, multitask_strategy = "replace_pending" }
      local first = assert(producer:create_or_reject("t", options))
      assert.equal(first.run_id, assert(worker:claim_next()).run_id)
      local second = assert(producer:create_or_reject("t", options))
      local third = assert(producer:create_or_reject("t", options))
      assert.same({ "running", "interrupted", "pending" }, { store:get(first.run_id).status,
        store:get(second.run_id).status, store:get(third.run_id).status })
    end)

    it("RUN-37: what it leaves to others is not kept in memory", function()
      for _ = 1, 200 do
        assert(producer:create("t", { claimable = true }))
        local run = assert(worker:claim_next())
        assert(worker:set_status(run.run_id, "success"))
      end
      collectgarbage()
      local held = setmetatable({}, { __mode = "k" })
      for _, run in ipairs(assert(producer:list_by_thread("t", { limit = 200 }))) do
        if not run.store_only then held[run] = true end
      end
      local count = 0
      for _ in pairs(held) do count = count + 1 end
      assert.is_true(count <= 64, count .. " records are kept")
    end)

    it("tries again when the store is busy, and gives the error when it stays so", function()
      assert(producer:create("t", { claimable = true }))
      local wrapped, calls = support.wrap(store, { claim_next = support.fail(2, support.busy()) })
      assert.truthy((support.manager(wrapped, { log = support.log() }):claim_next()))
      assert.equal(3, calls.claim_next)
      wrapped = support.wrap(store, { claim_next = support.fail(99, support.busy()) })
      support.refused("busy", support.manager(wrapped, { log = support.log() }):claim_next())
    end)

    it("refuses a bad limit and bad threads, and raises for misuse, naming the option", function()
      support.invalid("limit", worker:claim_next { limit = 0 })
      support.refused("limit_too_large", worker:claim_next { limit = 1001 })
      support.invalid("threads", worker:claim_next { threads = { "" } })
      support.raises("limit", worker.claim_next, worker, { limit = "x" })
      support.raises("limit", worker.claim_next, worker, { limit = 1.5 })
      support.raises("threads", worker.claim_next, worker, { threads = "t" })
      support.raises("threads", worker.claim_next, worker, { threads = { 42 } })
      support.raises("wait", worker.claim_next, worker, { wait = 3 })
    end)
  end)
end)

describe("[#sqlite] A producer that exits", function()
  after_each(support.clean_up)

  it("OWN-2: leaves its queue to whoever claims, in order", function()
    local path = support.path()
    local store = support.open(path)
    local child = support.spawn([[
      local manager = keel.run_manager { store = assert(keel.open((...))) }
      for i = 1, 3 do
        assert(manager:create_or_reject("t", { claimable = true, multitask_strategy = "enqueue", kwargs = { n = i } }))
      end
      say "made" hear()
    ]], { path })
    child:expect "made"
    child:kill()
    local manager = support.manager(store)
    assert.same({}, assert(manager:reconcile_orphaned_inflight_runs()))
    for i = 1, 3 do
      local run = assert(manager:claim_next())
      assert.equal(i, run.kwargs.n)
      assert.is_nil((manager:claim_next()))
      assert(manager:set_status(run.run_id, "success"))
    end
  end)
end)
