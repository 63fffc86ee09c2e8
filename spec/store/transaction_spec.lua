local support = require "support"

support.each_store(function(open)
  describe("A transaction", function()
    it("keeps everything when it commits", function()
      local store = open()
      local tx <close> = assert(store:begin())
      assert(tx:put("a", { thread_id = "t" }))
      assert(tx:put("b", { thread_id = "t" }))
      assert(tx:update_status("a", "running"))
      assert.is_true(tx:commit())
      assert.equal("running", store:get("a").status)
      assert.equal(3, #support.events(store))
    end)

    it("sees what it wrote", function()
      local store = open()
      local tx <close> = assert(store:begin())
      assert(tx:put("a", { thread_id = "t" }))
      assert.equal("t", assert(tx:get "a").thread_id)
      assert.equal(1, #tx:list_by_thread "t")
      assert.equal(1, #tx:list_inflight {})
      assert(tx:rollback() ~= false)
      assert.is_nil(store:get "a")
    end)

    it("reads the log as well, with what it wrote", function()
      local store = open()
      local tx <close> = assert(store:begin())
      assert(tx:put("a", { thread_id = "t" }))
      assert.same({ 1 }, support.pluck(support.events(tx), "id"))
      assert(tx:put("b", { thread_id = "t" }))
      assert.is_true(tx:commit())
      assert.equal(2, #support.events(store))
    end)

    it("keeps nothing, neither rows nor events, when its scope is left", function()
      local store = open()
      do
        local tx <close> = assert(store:begin())
        assert(tx:put("a", { thread_id = "t" }))
      end
      assert.is_nil(store:get "a")
      assert.equal(0, #support.events(store))
    end)

    it("keeps nothing when an error leaves its scope", function()
      local store = open()
      assert.is_false(pcall(function()
        local tx <close> = assert(store:begin())
        assert(tx:put("a", { thread_id = "t" }))
        error "on the way"
      end))
      assert.is_nil(store:get "a")
      assert(store:put("a", { thread_id = "t" }))
    end)

    it("goes on after an operation that was refused", function()
      local store = open()
      local tx <close> = assert(store:begin())
      assert(tx:put("a", { thread_id = "t", status = "success" }))
      support.refused("invalid_transition", tx:update_status("a", "running"))
      support.refused("invalid_request", tx:put("", { thread_id = "t" }))
      assert(tx:put("b", { thread_id = "t" }))
      assert(tx:commit())
      assert.equal("success", store:get("a").status)
      assert.truthy(store:get "b")
    end)

    it("makes every other operation on the handle busy while it is open", function()
      local store = open { lock_timeout = 0 }
      assert(store:put("r", { thread_id = "t" }))
      local tx <close> = assert(store:begin())
      for _, call in ipairs {
        { "put", "s", { thread_id = "t" } }, { "get", "r" }, { "delete", "r" }, { "update_status", "r", "running" },
        { "update_run_completion", "r", { status = "success" } }, { "update_run_progress", "r", { total_tokens = 1 } },
        { "list_by_thread", "t" }, { "list_inflight", {} }, { "claim_for_takeover", "r", {} }, { "begin" },
        { "append_event", { kind = "note" } }, { "read_events" }, { "verify" },
      } do
        local err = support.refused("busy", store[call[1]](store, table.unpack(call, 2)))
        assert.is_true(err.transient, call[1])
      end
      assert(tx:commit())
      assert.equal(1, #support.events(store))
    end)
  end)

  describe("store:transaction", function()
    it("commits when the function returns, and gives what it returned", function()
      local store = open()
      local a, b = store:transaction(function(tx)
        assert(tx:put("a", { thread_id = "t" }))
        return "done", 2
      end)
      assert.same({ "done", 2 }, { a, b })
      assert.truthy(store:get "a")
    end)

    it("rolls back and raises again when the function raises", function()
      local store, reason = open(), { "a table" }
      local ok, raised = pcall(store.transaction, store, function(tx)
        assert(tx:put("a", { thread_id = "t" }))
        error(reason)
      end)
      assert.is_false(ok)
      assert.equal(reason, raised)
      assert.is_nil(store:get "a")
      assert(store:put("b", { thread_id = "t" }))
    end)

    it("rolls back and passes on what a function returned as nil, err", function()
      local store, reason = open(), support.broken()
      local result, err = store:transaction(function(tx)
        assert(tx:put("a", { thread_id = "t" }))
        return nil, reason
      end)
      assert.is_nil(result)
      assert.equal(reason, err)
      assert.is_nil(store:get "a")
    end)

    it("rolls back when the function yields: nothing yields between begin and commit", function()
      local store = open()
      local work = coroutine.create(function()
        return store:transaction(function(tx)
          assert(tx:put("a", { thread_id = "t" }))
          coroutine.yield()
        end)
      end)
      assert.is_false((coroutine.resume(work)))
      assert.is_nil(store:get "a")
      assert(store:put("b", { thread_id = "t" }))
    end)

    it("raises without a function, naming the argument", function()
      support.raises("#1", open().transaction, open(), { "no function" })
    end)

    it("is busy inside another", function()
      local store = open { lock_timeout = 0 }
      assert(store:transaction(function(tx)
        support.refused("busy", store:transaction(function() return true end))
        return tx:put("a", { thread_id = "t" })
      end))
      assert.truthy(store:get "a")
    end)
  end)
end)

describe("A transaction in a file", function()
  after_each(support.clean_up)

  it("shows others nothing before it commits, and everything afterwards", function()
    local path = support.path()
    local store, other = support.open(path), support.open(path)
    local tx <close> = assert(store:begin())
    assert(tx:put("a", { thread_id = "t" }))
    assert.is_nil(other:get "a")
    assert.equal(0, #support.events(other))
    assert(tx:commit())
    assert.truthy(other:get "a")
    assert.equal(1, #support.events(other))
  end)

  it("of a reader ends with the read: what others write later is seen", function()
    local path = support.path()
    local store, other = support.open(path), support.open(path)
    for i = 1, 3 do
      assert.same({}, other:verify())
      assert.equal(i - 1, #assert(other:read_events()).events)
      assert.equal(i - 1, #other:list_by_thread "t")
      assert(store:put("r" .. i, { thread_id = "t" }))
    end
    assert(other:put("s", { thread_id = "t" }))
    assert.equal(4, #assert(other:read_events()).events)
  end)

  it("keeps other writers out", function()
    local path = support.path()
    local store, other = support.open(path), support.open(path, { lock_timeout = 0 })
    local tx <close> = assert(store:begin())
    support.refused("busy", other:put("a", { thread_id = "t" }))
    support.refused("busy", other:begin())
    assert(tx:commit())
    assert(other:put("a", { thread_id = "t" }))
  end)

  it("of a killed process leaves nothing, neither row nor event nor lock", function()
    local path = support.path()
    local store = support.open(path)
    local child = support.spawn([[
      local store = assert(keel.open((...)))
      local tx = assert(store:begin())
      assert(tx:put("a", { thread_id = "t" }))
      say "written"
      hear()
    ]], { path })
    child:expect "written"
    child:kill()
    assert.is_nil(store:get "a")
    assert(store:put("b", { thread_id = "t" }))
    assert.same({ 1 }, support.pluck(support.events(store), "id"))
  end)

  it("that was acknowledged survives kill -9", function()
    local path = support.path()
    local child = support.spawn([[
      local store = assert(keel.open((...)))
      for i = 1, 20 do assert(store:put("r" .. i, { thread_id = "t" })) end
      say "acknowledged"
      hear()
    ]], { path })
    child:expect "acknowledged"
    child:kill()
    local store = support.open(path)
    assert.equal(20, #store:list_by_thread "t")
    assert.equal(20, #support.events(store))
    assert.same({}, store:verify())
  end)
end)
