--- Coroutines that share commits: what each is told is what it would have been told alone.
local keel = require "keel"
local support = require "support"

support.each_store(function(open)
  describe("Shared commits", function()
    local store, shared, calls, overrides, deferred

    before_each(function()
      overrides, deferred = { tx = {} }, {}
      local wrapped
      wrapped, calls = support.wrap(open(), overrides)
      store = wrapped
      shared = keel.shared_commits(store, { defer = function(fn) table.insert(deferred, fn) end })
    end)

    -- A turn of the host's loop. Returns whether there was anything to do.
    local function turn()
      local due = deferred
      deferred = {}
      for _, fn in ipairs(due) do fn() end
      return #due > 0
    end

    -- Starts fn(i) in `count` coroutines; gives the list that their results get into.
    local function spawn(count, fn)
      local results = {}
      for i = 1, count do
        coroutine.wrap(function() results[i] = table.pack(pcall(fn, i)) end)()
      end
      return results
    end

    local function put(i) return shared:put("run-" .. i, { thread_id = "t" .. i }) end

    -- Every coroutine succeeded.
    local function all_well(results, count)
      for i = 1, count do
        local result = assert(results[i], "coroutine " .. i .. " has not gone on")
        assert(result[1], result[2])
        assert(result[2], result[3])
      end
    end

    it("tell the store how long a call may wait only with one that is not shared, and of that one alone", function()
      local function defer(fn) table.insert(deferred, fn) end
      shared = keel.shared_commits(store, { defer = defer, sleep = function() end })
      shared:wait_at_most(7)
      assert.equal(0, calls.wait_at_most)
      assert(shared:get "run-1" == nil)
      assert.equal(1, calls.wait_at_most)
      spawn(1, function(i)
        shared:wait_at_most(0)
        return put(i)
      end)
      turn()
      coroutine.wrap(function()
        shared:wait_at_most(0)
        shared:wait_events(nil, { timeout = 0 })
      end)()
      assert(shared:put("run-2", { thread_id = "t" }))
      assert.equal(1, calls.wait_at_most)
      assert.has_error(function() shared:wait_at_most "long" end)
      assert.has_error(function() shared:wait_at_most(-1) end)
    end)

    -- --- Success -----------------------------------------------------------------------------------------------------

    it("make one commit of what many write in a turn, and give each what it wrote", function()
      local results = spawn(20, put)
      assert.same({ 1, 0, 0 }, { #deferred, calls.begin, #results })
      turn()
      all_well(results, 20)
      assert.same({ 1, 1, 20, 0 }, { calls.begin, calls["tx.commit"], calls["tx.put"], calls.put })
      assert.same({ "pending", 1 }, { results[7][3].status, results[7][3].revision })
      assert.equal(20, #store:list_inflight {})
      assert.equal(20, #support.events(store))
      assert.is_false(turn())
    end)

    it("share whatever writes: what a runtime is, what is set for the store and what is pruned, too", function()
      local written = {
        { "open_runtime", "rt", {} }, { "stop_runtime", "rt" }, { "start_runtime", "rt" },
        { "set_reconciler", "fail_orphans" }, { "end_session", 4711 },
        { "prune_step", { before = "2000-01-01T00:00:00Z" } },
      }
      local results = spawn(#written, function(i) return shared[written[i][1]](shared, table.unpack(written[i], 2)) end)
      turn()
      for i, call in ipairs(written) do
        assert.same({ 0, 1 }, { calls[call[1]], calls["tx." .. call[1]] }, call[1])
        assert.is_true(results[i][1], tostring(results[i][2]))
        assert.is_truthy(call[1] == "end_session" or results[i][2], call[1] .. ": " .. tostring(results[i][3]))
      end
      assert.same({ "running", "fail_orphans" }, { store:runtime_summary("rt").status, store:reconciler() })
    end)

    it("let nobody go on before the commit has succeeded", function()
      local gone_on
      local results = spawn(3, put)
      overrides.tx.commit = function(forward)
        gone_on = #results
        return forward()
      end
      turn()
      assert.equal(0, gone_on)
      all_well(results, 3)
    end)

    it("need no savepoint and cost one transaction for a single caller", function()
      local results = spawn(1, put)
      turn()
      all_well(results, 1)
      assert.same({ 1, 0 }, { calls["tx.commit"], calls["tx.savepoint"] })
    end)

    it("take 256 calls at most", function()
      local results = spawn(300, put)
      turn()
      all_well(results, 256)
      assert.is_nil(results[257])
      turn()
      all_well(results, 300)
      assert.equal(2, calls["tx.commit"])
    end)

    it("commit what a coroutine writes next with the next turn", function()
      local results = spawn(4, function(i)
        assert(put(i))
        return shared:update_status("run-" .. i, "running")
      end)
      turn()
      assert.same({}, results)
      turn()
      all_well(results, 4)
      assert.equal(2, calls["tx.commit"])
    end)

    it("serve a manager: admission, start and outcome of many share their commits", function()
      local runs = support.manager(shared)
      assert(shared:session_id())
      local before = calls["tx.commit"]
      local results = spawn(10, function(i)
        local run = assert(runs:create_or_reject("t" .. i))
        assert(runs:try_start(run.run_id) == "started")
        return runs:update_run_completion(run.run_id, { status = "success", total_tokens = i })
      end)
      while turn() do end
      all_well(results, 10)
      assert.equal(3, calls["tx.commit"] - before)
      for i = 1, 10 do assert.equal(i, store:list_by_thread("t" .. i)[1].total_tokens) end
    end)

    it("decide admission one after the other: one of many wins", function()
      local runs = support.manager(shared)
      local results = spawn(8, function() return runs:create_or_reject "t" end)
      while turn() do end
      local admitted = 0
      for i = 1, 8 do
        if results[i][2] then admitted = admitted + 1 else assert.equal("conflict", results[i][3].code) end
      end
      assert.equal(1, admitted)
      assert.equal(1, #store:list_inflight {})
    end)

    it("leave calls outside of coroutines, and of those that do not share, to the store", function()
      assert(put(1))
      assert.same({ 1, 0 }, { calls.put, #deferred })
      local sharing = keel.shared_commits(store, { shares = function() return false end })
      local results = spawn(1, function() return sharing:put("a", { thread_id = "t" }) end)
      all_well(results, 1)
      assert.equal(2, calls.put)
    end)

    it("read at once, and have all that a store has", function()
      local results = spawn(1, function()
        return shared:get "nobody" == nil and shared:count_inflight "t" == 0 and shared:backend() ~= nil
      end)
      all_well(results, 1)
      assert.is_nil(shared.no_such_method)
      assert.truthy(tostring(shared):find "keel.shared_commits of")
    end)

    it("lack what a store in other clothes lacks, and wait all the same", function()
      local bare = {}
      for _, name in ipairs { "put", "get" } do bare[name] = function(_, ...) return store[name](store, ...) end end
      local other = keel.shared_commits(bare, { defer = function(fn) table.insert(deferred, fn) end })
      for _, name in ipairs { "admit", "wait_at_most", "requeue", "begin" } do assert.is_nil(other[name], name) end
      other:sleep(0)
      assert(support.manager(other):create "t")
    end)

    it("grant leases", function()
      local results = spawn(3, function(i) return shared:lease("name-" .. i, { ttl = 60 }) end)
      turn()
      all_well(results, 3)
      assert.equal(1, calls["tx.commit"])
      assert.is_true(results[2][2]:held())
    end)

    it("go without defer: the host ends its turns by flush", function()
      shared = keel.shared_commits(store)
      local results = spawn(3, put)
      shared:flush()
      all_well(results, 3)
      shared:flush()
      assert.equal(1, calls["tx.commit"])
    end)

    -- --- Transactions ------------------------------------------------------------------------------------------------

    it("hold a transaction of each, and undo alone what is rolled back", function()
      local results = spawn(6, function(i)
        return shared:transaction(function(tx)
          assert(tx:put("run-" .. i, { thread_id = "t" }))
          if i % 3 == 1 then error "not this one" end
          if i % 3 == 2 then return nil, support.broken() end
          return i
        end)
      end)
      turn()
      assert.equal(1, calls["tx.commit"])
      for i = 1, 6 do
        if i % 3 == 1 then assert.truthy(results[i][2]:find "not this one") end
        if i % 3 == 2 then assert.same({ nil, "store_corrupt" }, { results[i][2], results[i][3].code }) end
        if i % 3 == 0 then assert.equal(i, results[i][2]) end
      end
      assert.same({ "run-3", "run-6" }, support.pluck(store:list_inflight {}, "run_id"))
      assert.equal(2, #support.events(store))
    end)

    it("answer busy between a begin and its commit, as a store does", function()
      local results = spawn(2, function(i)
        local tx = assert(shared:begin())
        local _, err = put(i)
        assert.equal("busy", err.code)
        assert.equal("busy", select(2, shared:get "a").code)
        assert(tx:put("run-" .. i, { thread_id = "t" }))
        return tx:commit()
      end)
      turn()
      all_well(results, 2)
      assert.equal(2, #store:list_inflight {})
    end)

    it("undo a transaction whose coroutine waits for something else, and tell it when it comes back", function()
      local waiting, told
      coroutine.wrap(function()
        local tx = assert(shared:begin())
        assert(tx:put("late", { thread_id = "t" }))
        waiting = coroutine.running()
        coroutine.yield()
        told = select(2, pcall(tx.commit, tx))
      end)()
      local results = spawn(2, put)
      turn()
      all_well(results, 2)
      coroutine.resume(waiting)
      assert.truthy(told:find "the transaction is over")
      assert.is_nil(store:get "late")
    end)

    it("undo a transaction whose coroutine dies, and raise its error when all others have gone on", function()
      coroutine.wrap(function()
        local tx = assert(shared:begin())
        assert(tx:put("dead", { thread_id = "t" }))
        error "it died"
      end)()
      local results = spawn(2, put)
      support.raises("it died", turn)
      all_well(results, 2)
      assert.is_nil(store:get "dead")
    end)

    it("forget a coroutine that was closed", function()
      local thread = coroutine.create(function() put(1) end)
      coroutine.resume(thread)
      coroutine.close(thread)
      local begun = coroutine.create(function() shared:begin() end)
      coroutine.resume(begun)
      coroutine.close(begun)
      local results = spawn(1, function() return put(2) end)
      turn()
      all_well(results, 1)
    end)

    -- --- Failure -----------------------------------------------------------------------------------------------------

    it("tell each caller of its own refusal and misuse", function()
      local results = spawn(4, function(i)
        if i == 2 then return shared:put("", { thread_id = "t" }) end
        if i == 3 then return shared:put("x", { colour = "red" }) end
        return put(i)
      end)
      turn()
      assert.equal("invalid_request", results[2][3].code)
      assert.is_false(results[3][1])
      assert.truthy(results[3][2]:find "colour")
      all_well({ results[1], results[4] }, 2)
      assert.equal(1, calls["tx.commit"])
      assert.equal(2, #store:list_inflight {})
    end)

    it("undo what fails half-way, and commit the rest", function()
      local spoilt = false
      overrides.tx.put = function(forward, run_id, fields)
        local ok, written = forward(run_id, fields)
        if run_id ~= "run-2" then return ok, written end
        spoilt = true -- as the kernel has it: nothing goes on but rolling back
        return nil, support.broken()
      end
      overrides.tx.savepoint = function(forward)
        if spoilt then return nil, support.broken() end
        return forward()
      end
      overrides.tx.rollback_to = function(forward, mark)
        spoilt = false
        return forward(mark)
      end
      local results = spawn(4, put)
      turn()
      assert.equal("store_corrupt", results[2][3].code)
      all_well({ results[1], results[3], results[4] }, 3)
      assert.same({ "run-1", "run-3", "run-4" }, support.pluck(store:list_inflight {}, "run_id"))
      assert.equal(1, calls["tx.commit"])
      assert.equal(3, #support.events(store))
    end)

    -- The first commit fails as the kernel's do: with everything undone.
    local function fail_first_commit()
      local current
      overrides.begin = function(forward)
        local tx, err = forward()
        current = tx
        return tx, err
      end
      overrides.tx.commit = function(forward)
        if calls["tx.commit"] > 1 then return forward() end
        current:rollback()
        return nil, { code = "store_full", message = "the disk is full", transient = false }
      end
    end

    it("give each call a commit of its own when the shared one fails; a transaction may try again", function()
      fail_first_commit()
      local results = spawn(3, function(i)
        if i < 3 then return put(i) end
        return shared:transaction(function(tx) return tx:put("run-3", { thread_id = "t" }) end)
      end)
      turn()
      all_well(results, 2)
      assert.same({ "busy", true }, { results[3][3].code, results[3][3].transient })
      assert.same({ "run-1", "run-2" }, support.pluck(store:list_inflight {}, "run_id"))
      assert.equal(3, calls["tx.commit"])
    end)

    it("tell a single caller what its commit failed with", function()
      local function count() return shared:transaction(function(tx) return tx:count_inflight "t" end) end
      for i, fn in ipairs { put, count } do
        calls["tx.commit"] = 0
        fail_first_commit()
        local results = spawn(1, fn)
        turn()
        assert.equal("store_full", results[1][3].code, i)
      end
      assert.same({}, store:list_inflight {})
    end)

    it("raise in every coroutine when the store is closed", function()
      local results = spawn(3, put)
      store:close()
      turn()
      for i = 1, 3 do
        assert.is_false(results[i][1])
        assert.truthy(results[i][2]:find "closed")
      end
    end)

    it("refuse what is no store, and options that nobody knows", function()
      support.raises("table", keel.shared_commits, 1)
      support.raises("colour", keel.shared_commits, store, { colour = 1 })
      support.raises("lock_timeout", keel.shared_commits, store, { lock_timeout = -1 })
    end)
  end)
end)

describe("Shared commits while another writes", function()
  after_each(support.clean_up)

  -- A shared store whose coroutines sleep until `wake()`, and another handle on the file.
  local function contended(options)
    local path, sleeping = support.path(), {}
    local other = support.open(path)
    local given = { sleep = function(seconds)
      table.insert(sleeping, { coroutine.running(), seconds })
      coroutine.yield()
    end }
    for name, value in pairs(options or {}) do given[name] = value end
    local shared = keel.shared_commits(support.open(path), given)
    assert(shared:put("first", { thread_id = "t" }))
    return shared, other, function()
      local due = sleeping
      sleeping = {}
      for _, one in ipairs(due) do assert(coroutine.resume(one[1])) end
      return #due
    end
  end

  it("wait through the host's sleep, and take along what came meanwhile", function()
    local shared, other, wake = contended()
    local held = assert(other:begin())
    local done = 0
    local function put(id)
      coroutine.wrap(function()
        assert(shared:put(id, { thread_id = "t" }))
        done = done + 1
      end)()
    end
    put "a"
    shared:flush() -- returns: the thread is free
    for _ = 1, 5 do assert.equal(1, wake()) end
    put "b"
    shared:flush() -- does nothing: it waits already
    held:rollback()
    assert.equal(0, done)
    assert.equal(1, wake())
    assert.equal(2, done)
    assert.equal(0, wake())
  end)

  it("are busy for all that waited when the time is over", function()
    local shared, other, wake = contended { lock_timeout = 0 }
    local held <close> = assert(other:begin())
    local told = {}
    for i = 1, 3 do
      coroutine.wrap(function() told[i] = select(2, shared:put("a" .. i, { thread_id = "t" })) end)()
    end
    shared:flush()
    assert.same({ "busy", "busy", "busy" }, support.pluck(told, "code"))
    assert.equal(0, wake())
    assert.is_not_nil(held)
  end)

  it("wait for events through the host's sleep", function()
    local shared, other, wake = contended()
    local ready, late
    coroutine.wrap(function()
      local page = assert(shared:read_events())
      ready = shared:wait_events(page.cursor, { timeout = 60 })
      late = shared:wait_events({ next_event_id = 100, epoch = shared:epoch() }, { timeout = 0 })
    end)()
    assert.equal(1, wake())
    assert.is_nil(ready)
    assert(other:put("news", { thread_id = "t" }))
    wake()
    assert.same({ true, false }, { ready, late })
    support.invalid("timeout", shared:wait_events(nil, { timeout = -1 }))
  end)
end)
