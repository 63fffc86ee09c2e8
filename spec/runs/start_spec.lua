local keel = require "keel"
local support = require "support"

support.each_store(function(open)
  describe("try_start", function()
    it("starts a pending run, in memory and store", function()
      local store = open()
      local manager = support.manager(store)
      local run = assert(manager:create_or_reject "t")
      assert.equal("started", manager:try_start(run.run_id))
      assert.same({ "running", "running" }, { run.status, store:get(run.run_id).status })
      assert.truthy(run.started_at)
      assert.equal(1, #support.events(store, { kinds = { "run_started" } }))
    end)

    it("RUN-30: never resurrects a run that was cancelled before", function()
      local store = open()
      local manager = support.manager(store)
      local run = assert(manager:create_or_reject "t")
      assert(manager:cancel(run.run_id))
      assert.equal("cancelled", manager:try_start(run.run_id))
      assert.same({ "interrupted", "interrupted" }, { run.status, store:get(run.run_id).status })
    end)

    it("RUN-30: never resurrects a run that somebody else cancelled, and tells the record", function()
      local store = open()
      local manager = support.manager(store)
      local run = assert(manager:create_or_reject "t")
      assert(store:update_status(run.run_id, "interrupted"))
      assert.equal("cancelled", manager:try_start(run.run_id))
      assert.same({ "interrupted", "interrupted" }, { run.status, store:get(run.run_id).status })
    end)

    it("RUN-30: never resurrects a run that the next admission interrupted", function()
      local store = open()
      local manager = support.manager(store)
      local run = assert(manager:create_or_reject "t")
      assert(manager:create_or_reject("t", { multitask_strategy = "interrupt" }))
      assert.equal("cancelled", manager:try_start(run.run_id))
      assert.equal("interrupted", store:get(run.run_id).status)
    end)

    it("of an unknown run is not_found", function()
      support.refused("not_found", support.manager(open()):try_start(support.unknown_id()))
    end)

    it("that the store does not take is an error, and the run stays pending", function()
      local store, failing = open(), false
      local function broken(forward, ...)
        if failing then return nil, support.broken() end
        return forward(...)
      end
      local manager = support.manager((support.wrap(store, {
        begin = broken, transaction = broken, update_status = broken, put = broken, get = broken,
      })))
      local run = assert(manager:create "t")
      failing = true
      support.refused("store_corrupt", manager:try_start(run.run_id))
      assert.same({ "pending", "pending" }, { run.status, store:get(run.run_id).status })
    end)
  end)
end)

describe("try_start in a busy store", function()
  after_each(support.clean_up)

  it("RUN-30: a run cancelled during the start ends interrupted, and the call says cancelled", function()
    local path, lock, manager, run, cancelled = support.path(), nil, nil, nil, nil
    local other = support.open(path)
    local store = support.open(path, { lock_timeout = 0 })
    manager = keel.run_manager {
      store = store,
      retry = keel.retry_policy {
        initial_delay = 0.001,
        sleep = function() -- the start waits for the lock: meanwhile somebody cancels
          if not lock then return end
          lock:rollback()
          lock = nil
          cancelled = table.pack(manager:cancel(run.run_id))
        end,
      },
    }
    run = assert(manager:create_or_reject "t")
    lock = assert(other:begin())
    assert.equal("cancelled", manager:try_start(run.run_id))
    assert.same({ true, "cancelled" }, { cancelled[1], cancelled[2] })
    assert.same({ "interrupted", "interrupted" }, { run.status, store:get(run.run_id).status })
    assert.equal(0, #support.events(store, { kinds = { "run_started" } }))
  end)
end)
