local keel = require "keel"
local support = require "support"

-- What a policy sees of the documents of runs, which are read when it looks at them.
support.each_store(function(open)
  -- A manager on a store that counts the documents that are read, and runs on the thread.
  local function with_runs(count, fields)
    local store = open()
    local read = { count = 0 }
    local counting = support.wrap(store, {
      begin = function(next, ...)
        local tx, err = next(...)
        if not tx then return nil, err end
        return support.wrap(tx, {
          get_document = function(go, ...)
            read.count = read.count + 1
            return go(...)
          end,
          list_inflight = function(go, query)
            read.brief = query.brief
            return go(query)
          end,
        })
      end,
    })
    for i = 1, count do
      local given = { thread_id = "t", metadata = { number = i }, kwargs = { n = { i } }, claimable = true }
      for name, value in pairs(fields or {}) do given[name] = value end
      assert(store:put("r" .. i, given))
    end
    return support.manager(counting), read, store
  end

  local function decide(runs, strategy)
    return assert(runs:create_or_reject("t", { multitask_strategy = strategy }))
  end

  describe("F-22: documents", function()
    it("are not read when no policy looks", function()
      local runs, read = with_runs(3)
      decide(runs, "enqueue")
      decide(runs, "interrupt")
      decide(runs, function(_, inflight)
        return { admit = true, concurrency = #inflight + 1, after = { inflight[1] } }
      end)
      assert.equal(0, read.count)
      assert.is_true(read.brief)
    end)

    it("look as if they were there: fields, pairs, copies", function()
      local runs, read = with_runs(3)
      local seen = {}
      decide(runs, function(_, inflight)
        local first, second, third = inflight[1], inflight[2], inflight[3]
        seen.metadata = first.metadata
        seen.again = rawequal(first.metadata, first.metadata)
        seen.number, seen.n = second.metadata.number, second.kwargs.n[1]
        for name, value in pairs(third) do seen[name .. 3] = value end
        seen.unknown = first.no_such_field
        first.metadata.number = 99 -- its own copy
        return { admit = true, concurrency = 1 }
      end)
      assert.same({ number = 99 }, seen.metadata)
      assert.is_true(seen.again)
      assert.same({ 2, 2 }, { seen.number, seen.n })
      assert.same({ { number = 3 }, { n = keel.array { 3 } } }, { seen.metadata3, seen.kwargs3 })
      assert.is_nil(seen.unknown)
      assert.equal(7, read.count)
    end)

    it("are shown to scripts, and to the fallback", function()
      local runs = with_runs(2)
      local path = support.dir() .. "/policy.lua"
      local file <close> = assert(io.open(path, "w"))
      file:write [[return function(_, inflight)
        return { admit = false, reason = inflight[1].metadata.number .. " " .. inflight[2].kwargs.n[1] }
      end]]
      file:close()
      local _, err = runs:create_or_reject("t", { multitask_strategy = assert(keel.load_policy(path)) })
      assert.equal("1 2", err.reason)
    end)

    it("that are too long for a script are left out by name, and are not read", function()
      local runs, _, store = with_runs(40, { kwargs = { text = ("x"):rep(300000) } })
      assert(store:put("r40", { kwargs = { short = true } }))
      local path = support.dir() .. "/policy.lua"
      local file <close> = assert(io.open(path, "w"))
      file:write [[return function(_, inflight)
        local first, last = inflight[1], inflight[40]
        return { admit = false, reason = table.concat(first.omitted, ",") .. " " .. tostring(first.kwargs) .. " "
          .. first.metadata.number .. " " .. tostring(last.kwargs.short) .. " " .. tostring(last.omitted) }
      end]]
      file:close()
      local _, err = runs:create_or_reject("t", { multitask_strategy = assert(keel.load_policy(path)) })
      assert.equal("kwargs nil 1 true nil", err.reason)
    end)

    it("are shown to reconcilers, in an admission and in a sweep", function()
      for _, how in ipairs { "admission", "sweep" } do
        local store = open()
        local seen = {}
        local runs = support.manager(store, { reconcilers = { look = function(run)
          seen[#seen + 1] = run.metadata.number + run.kwargs.n
          return { status = "error", error = "seen" }
        end } })
        assert(store:put("r", { thread_id = "t", reconciler = "look", metadata = { number = 1 }, kwargs = { n = 2 } }))
        if how == "admission" then
          assert(runs:create_or_reject "t")
        else
          assert.equal(1, #assert(runs:reconcile_orphaned_inflight_runs()))
        end
        assert.same({ 3 }, seen)
      end
    end)
  end)
end)

describe("F-22: sixty waiting runs with a MiB of kwargs each", function()
  after_each(support.clean_up)

  it("do not make an admission read them", function()
    local store = support.open(":memory:")
    local runs = support.manager(store)
    local pad = keel.array {}
    for i = 1, 16384 do pad[i] = ("x"):rep(60) end
    for i = 1, 60 do
      assert(store:put("r" .. i, { thread_id = "chat", claimable = true, kwargs = { messages = pad } }))
    end
    collectgarbage()
    collectgarbage "stop"
    local before = collectgarbage "count"
    assert(runs:create_or_reject("chat", { multitask_strategy = "enqueue", claimable = true }))
    local grown = collectgarbage "count" - before
    collectgarbage "restart"
    assert.is_true(grown < 1024, ("an admission took %d KiB"):format(grown // 1))
  end)
end)
