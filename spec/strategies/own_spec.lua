local keel = require "keel"
local support = require "support"

support.each_store(function(open)
  local function interrupt_oldest(_, inflight)
    return { admit = true, cancel = { inflight[1] }, action = "rollback" }
  end

  describe("POLICY-2: a strategy of the user's own", function()
    it("works as a function: decision and effect", function()
      local store = open()
      local manager = support.manager(store)
      local one, two = assert(manager:create "t"), assert(manager:create "t")
      local new, how = manager:create_or_reject("t", { multitask_strategy = interrupt_oldest })
      assert.equal("created", how)
      assert.same({ "interrupted", "rollback", "pending" }, { one.status, one.abort_action, two.status })
      assert.equal("interrupted", store:get(one.run_id).status)
      assert.equal("pending", store:get(new.run_id).status)
    end)

    it("is called custom as a function, and by its name when the manager was given one", function()
      local store = open()
      local manager = support.manager(store, { strategies = { mine = interrupt_oldest } })
      assert(manager:create "t")
      local one = assert(manager:create_or_reject("t", { multitask_strategy = interrupt_oldest }))
      local two = assert(manager:create_or_reject("t", { multitask_strategy = "mine" }))
      assert.same({ "custom", "mine" }, { one.multitask_strategy, two.multitask_strategy })
      assert.same({ "custom", "mine" },
        { store:get(one.run_id).multitask_strategy, store:get(two.run_id).multitask_strategy })
    end)

    it("refuses with a reason that the conflict repeats", function()
      local manager = support.manager(open())
      local run = assert(manager:create "t")
      local err = support.refused("conflict", manager:create_or_reject("t", {
        multitask_strategy = function() return { admit = false, reason = "closed on Sundays" } end,
      }))
      assert.same({ "t", run.run_id }, { err.thread_id, err.run_id })
      assert.matches("closed on Sundays", err.message)
    end)

    it("says once where it failed", function()
      local err = support.refused("policy_failed", support.manager(open()):create_or_reject("t", {
        multitask_strategy = function() error "closed on Sundays" end,
      }))
      assert.matches("^policy custom failed: [^ ]+:%d+: closed on Sundays$", err.message)
    end)

    it("may refuse on a free thread", function()
      local store = open()
      local err = support.refused("conflict", support.manager(store):create_or_reject("t", {
        multitask_strategy = function() return { admit = false } end,
      }))
      assert.equal("t", err.thread_id)
      assert.equal(0, #support.events(store))
    end)

    it("may give a run to reuse", function()
      local manager = support.manager(open())
      local run = assert(manager:create "t")
      local again, how = manager:create_or_reject("t", {
        multitask_strategy = function(_, inflight) return { admit = false, reuse = inflight[1] } end,
      })
      assert.equal("reused", how)
      assert.is_true(rawequal(run, again))
    end)

    it("sees what the caller asked for", function()
      local clock, seen = support.clock(), nil
      local manager = support.manager(open { clock = clock.read, monotonic = clock.read })
      assert(manager:create_or_reject("t", {
        assistant_id = "a", metadata = { k = "v" }, kwargs = { n = 1 }, user_id = "u", priority = 3, fingerprint = "f",
        strategy_options = { max = 7 },
        multitask_strategy = function(request) seen = request return { admit = true } end,
      }))
      assert.same({ "t", "a", "u", 3, "f", 0, 7 }, { seen.thread_id, seen.assistant_id, seen.user_id, seen.priority,
        seen.fingerprint, seen.inflight_count, seen.options.max })
      assert.same({ { k = "v" }, { n = 1 } }, { seen.metadata, seen.kwargs })
      assert.truthy(seen.now)
    end)

    it("sees all that may be asked for, as a function and as a file, and tables where nothing was", function()
      local asked = { assistant_id = "a", user_id = "u", model_name = "m", on_disconnect = "continue",
        fingerprint = "f", batch_id = "b", plan_entry = "p", max_attempts = 2, max_losses = 3, claimable = true,
        priority = 4, reconciler = "requeue_orphans", idempotency_key = "k", scheduled_at = "2030-01-01T00:00:00Z",
        deadline = "2031-01-01T00:00:00Z", worker_ref = { worker_id = "w" } }
      local source = [[return function(request, _)
        local seen = {}
        for name in pairs(request) do seen[#seen + 1] = name end
        table.sort(seen)
        return { admit = false, reason = table.concat(seen, " ") }
      end]]
      local names = { "finalizing", "inflight_count", "kwargs", "metadata", "multitask_strategy", "now", "options",
        "priority", "thread_id", "on_disconnect" }
      local plain = { table.unpack(names) }
      for name in pairs(asked) do
        if name ~= "priority" and name ~= "on_disconnect" then names[#names + 1] = name end
      end
      table.sort(names)
      table.sort(plain)
      local path = support.dir() .. "/look.lua"
      require("support.files").write(path, source)
      local manager = support.manager(open())
      for _, strategy in ipairs { assert(load(source))(), assert(keel.load_policy(path)) } do
        asked.multitask_strategy = strategy
        local _, err = manager:create_or_reject("t", asked)
        assert.equal(table.concat(names, " "), err.reason)
        _, err = manager:create_or_reject("t", { multitask_strategy = strategy })
        assert.equal(table.concat(plain, " "), err.reason)
      end
    end)

    it("sees the thread's pending and running runs, oldest first, and no others", function()
      local seen
      local manager = support.manager(open())
      local one, done, two = assert(manager:create "t"), assert(manager:create "t"), assert(manager:create "t")
      assert(manager:create "u")
      assert(manager:set_status(one.run_id, "running"))
      assert(manager:set_status(done.run_id, "success"))
      assert(manager:create_or_reject("t", {
        multitask_strategy = function(request, inflight) seen = { request, inflight } return { admit = true } end,
      }))
      assert.equal(2, seen[1].inflight_count)
      assert.same({ one.run_id, two.run_id }, support.pluck(seen[2], "run_id"))
      assert.same({ "running", "pending" }, support.pluck(seen[2], "status"))
    end)

    it("sees at most 256 of them, the oldest, and the exact count", function()
      local seen
      local store = open()
      local session = assert(store:session_id())
      assert(store:transaction(function(tx)
        for i = 1, 300 do assert(tx:put("r" .. i, { thread_id = "t", session_id = session })) end
        return true
      end))
      assert(support.manager(store):create_or_reject("t", {
        multitask_strategy = function(request, inflight)
          seen = { request.inflight_count, #inflight, inflight[1].run_id, inflight[256].run_id }
          return { admit = true }
        end,
      }))
      assert.same({ 300, 256, "r1", "r256" }, seen)
    end)

    it("is shown a document that holds itself, which is then refused", function()
      local endless = {}
      endless.again = endless
      local err = support.refused("invalid_request", support.manager(open()):create_or_reject("t",
        { metadata = endless, multitask_strategy = function() return { admit = true } end }))
      assert.matches("holds itself", err.message)
    end)

    it("may spoil what it is shown without harm", function()
      local store = open()
      local manager = support.manager(store)
      local run = assert(manager:create("t", { metadata = { k = "v" } }))
      local metadata, kwargs, options = { mine = 1, list = keel.array { 1 } }, { deep = { 1 } }, { max = 1 }
      local admitted = assert(manager:create_or_reject("t", {
        metadata = metadata, kwargs = kwargs, strategy_options = options,
        multitask_strategy = function(request, inflight)
          inflight[1].status, inflight[1].metadata, request.metadata.mine = "success", nil, 2
          request.metadata.list[1], request.kwargs.deep[1], request.options.max = 2, 2, 2
          return { admit = true }
        end,
      }))
      assert.same({ { mine = 1, list = { 1 } }, { deep = { 1 } }, { max = 1 } }, { metadata, kwargs, options })
      local row = store:get(admitted.run_id)
      assert.same({ { mine = 1, list = { 1 } }, { deep = { 1 } } }, { row.metadata, row.kwargs })
      assert.same({ "pending", "pending" }, { run.status, store:get(run.run_id).status })
      assert.same({ k = "v" }, run.metadata)
    end)

    it("that raises is policy_failed, and nothing changed", function()
      local store = open()
      local manager = support.manager(store)
      local run = assert(manager:create "t")
      local err = support.refused("policy_failed", manager:create_or_reject("t", {
        multitask_strategy = function() error "no idea" end,
      }))
      assert.matches("no idea", err.reason)
      assert.equal("custom", err.policy)
      assert.equal("pending", run.status)
      assert.equal(1, #support.events(store))
      assert(manager:create "t")
    end)

    local ENDLESS = {
      ["loops for ever"] = function() while true do end end,
      ["swallows the stop"] = function()
        while true do pcall(function() while true do end end) end
      end,
      ["loops in a coroutine"] = function()
        return coroutine.wrap(function() while true do end end)()
      end,
      ["makes coroutines for ever"] = function()
        while true do coroutine.wrap(function() for _ = 1, 100 do end end)() end
      end,
    }

    for what, strategy in pairs(ENDLESS) do
      it("that " .. what .. " is policy_budget, and nothing changed", function()
        local store = open()
        local manager = support.manager(store, { policy_budget = { instructions = 20000, seconds = 10 } })
        local run = assert(manager:create "t")
        local err = support.refused("policy_budget", manager:create_or_reject("t", { multitask_strategy = strategy }))
        assert.same({ "custom", "instructions" }, { err.policy, err.limit })
        assert.same({ "pending", false }, { run.status, run.abort_event:is_set() })
        assert.equal(1, #support.events(store))
        assert(manager:create "t")
      end)
    end

    it("that takes too long is policy_budget as well", function()
      local manager = support.manager(open(), { policy_budget = { instructions = 1 << 50, seconds = 0.01 } })
      local err = support.refused("policy_budget",
        manager:create_or_reject("t", { multitask_strategy = function() while true do end end }))
      assert.equal("seconds", err.limit)
    end)

    it("leaves the host's own debug hook as it was", function()
      local manager = support.manager(open())
      local hook = function() end
      local before = table.pack(debug.gethook())
      debug.sethook(hook, "", 100000)
      local run = manager:create_or_reject("t", { multitask_strategy = function() return { admit = true } end })
      local after = table.pack(debug.gethook())
      debug.sethook(table.unpack(before, 1, 3))
      assert.truthy(run)
      assert.same({ hook, "", 100000 }, { after[1], after[2], after[3] })
    end)

    local MALFORMED = {
      ["nothing"] = function() end,
      ["a text"] = function() return "admit" end,
      ["an admit that is no boolean"] = function() return { admit = "yes" } end,
      ["an unknown field"] = function() return { admit = true, cancle = "all" } end,
      ["an unknown action"] = function() return { admit = true, cancel = "all", action = "explode" } end,
      ["a cancel that is no list"] = function() return { admit = true, cancel = 7, action = "interrupt" } end,
      ["a run of nobody to cancel"] = function()
        return { admit = true, cancel = { { run_id = "nobody" } }, action = "interrupt" }
      end,
      ["a list with a hole"] = function(_, inflight)
        return { admit = true, cancel = { [2] = inflight[1] }, action = "interrupt" }
      end,
      ["a named run to cancel"] = function(_, inflight)
        return { admit = true, cancel = { run = inflight[1] }, action = "interrupt" }
      end,
      ["to cancel for somebody it does not admit"] = function()
        return { admit = false, cancel = "all", action = "interrupt" }
      end,
      ["to admit and to reuse"] = function(_, inflight) return { admit = true, reuse = inflight[1] } end,
      ["an after that is no list of runs"] = function() return { admit = true, after = { "nobody" } } end,
      ["a run of nobody to reuse"] = function()
        return { admit = false, reuse = { run_id = "nobody" } }
      end,
    }

    for what, strategy in pairs(MALFORMED) do
      it("that decides " .. what .. " is policy_failed, saying what is wrong, and nothing changed", function()
        local store = open()
        local manager = support.manager(store)
        local run = assert(manager:create "t")
        local err = support.refused("policy_failed", manager:create_or_reject("t", { multitask_strategy = strategy }))
        assert.is_true(#err.reason > 0)
        assert.same({ "pending", false }, { run.status, run.abort_event:is_set() })
        assert.equal(1, #support.events(store))
      end)
    end

    it("that yields is policy_failed, and the transaction is over", function()
      local store, result = open(), nil
      local manager = support.manager(store)
      local work = coroutine.create(function()
        result = table.pack(manager:create_or_reject("t", {
          multitask_strategy = function() coroutine.yield "in the middle" return { admit = true } end,
        }))
      end)
      assert(coroutine.resume(work))
      assert.equal("dead", coroutine.status(work))
      support.refused("policy_failed", table.unpack(result, 1, result.n))
      assert(store:put("r", { thread_id = "t" }))
    end)

    it("is asked once for each attempt, and inside the writing transaction", function()
      local store = open { lock_timeout = 0 }
      local inside
      assert(support.manager(store):create_or_reject("t", {
        multitask_strategy = function()
          local ok, err = store:put("sneaky", { thread_id = "t" })
          inside = { ok, err and err.code }
          return { admit = true }
        end,
      }))
      assert.same({ nil, "busy" }, { inside[1], inside[2] })
      assert.is_nil(store:get "sneaky")
    end)
  end)
end)
