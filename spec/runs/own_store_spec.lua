--- A store of the user's own hears the calls that the reference names, with their tables: what Keel's own store is told
--- in fewer words is put in full for it.
local keel = require "keel"
local support = require "support"

local OUTCOME = { status = "success", total_tokens = 3 }

-- A store that notes what it is told by some methods, in a transaction too.
local function noting(store, methods)
  local heard, overrides = {}, { tx = {} }
  for _, name in ipairs(methods) do
    local function note(forward, ...)
      heard[#heard + 1] = { name, ... }
      return forward(...)
    end
    overrides[name], overrides.tx[name] = note, note
  end
  return support.wrap(store, overrides), heard
end

support.each_store(function(open)
  describe("A store of the user's own", function()
    local store, wrapped, heard
    before_each(function()
      store = open()
      wrapped, heard = noting(store, { "update_status", "start", "update_run_completion", "update_run_progress" })
    end)

    -- What such a store hears of a run's course.
    local function assert_told_in_full(runs, run, lease_ttl)
      assert.equal("started", runs:try_start(run.run_id))
      assert.is_true(runs:update_run_progress(run.run_id, { total_tokens = 1 }))
      assert.is_true(runs:update_run_completion(run.run_id, OUTCOME))
      assert.same({
        { "update_status", run.run_id, "running", { fence = 1, gate = true, lease_ttl = lease_ttl } },
        { "update_run_progress", run.run_id, { total_tokens = 1, fence = 1 } },
        { "update_run_completion", run.run_id, { status = "success", total_tokens = 3, fence = 1 } },
      }, heard)
      assert.same({ status = "success", total_tokens = 3 }, OUTCOME) -- it is the caller's
      assert.same({ "success", 3 }, { store:get(run.run_id).status, store:get(run.run_id).total_tokens })
    end

    it("hears update_status of a start, and the fence among the fields of an outcome", function()
      local runs = support.manager(wrapped)
      assert_told_in_full(runs, assert(runs:create "t"))
    end)

    it("hears of the lease too, and behind shared commits the same", function()
      local runs = support.manager(keel.shared_commits(wrapped), { lease_ttl = 5, lease_grace = 1 })
      assert_told_in_full(runs, assert(runs:create "t"), 6)
    end)

    it("hears the same in a transaction, where something has to be cleared away first", function()
      local runs = support.manager(wrapped)
      assert(store:put("dead", { thread_id = "t", status = "running", session_id = 999, concurrency = 1 }))
      local run = assert(runs:create "t")
      assert(store:put(run.run_id, { concurrency = 1 }))
      assert.equal("started", runs:try_start(run.run_id))
      assert.is_true(#heard >= 2)
      for _, call in ipairs(heard) do
        assert.same({ "update_status", run.run_id, "running", { fence = 1, gate = true } }, call)
      end
    end)

    it("is told which method it lacks by the name that the reference has", function()
      local runs = support.manager(setmetatable({}, { __index = function(_, name)
        local method = name ~= "update_status" and store[name]
        return method and function(_, ...) return method(store, ...) end or nil
      end }))
      local run = assert(runs:create "t")
      local err = support.refused("io", runs:try_start(run.run_id))
      assert.truthy(err.message:find("'update_status'", 1, true), err.message)
    end)
  end)
end)
