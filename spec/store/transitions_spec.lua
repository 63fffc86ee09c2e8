local support = require "support"

local FINAL = { "success", "error", "timeout", "interrupted" }
local ALL = { "pending", "running", "success", "error", "timeout", "interrupted" }

local ALLOWED = { pending = { running = true }, running = {} }
for _, final in ipairs(FINAL) do
  ALLOWED.pending[final], ALLOWED.running[final] = true, true
  ALLOWED[final] = { [final] = true }
end

local function each_change(body)
  for _, from in ipairs(ALL) do
    for _, to in ipairs(ALL) do
      if from ~= to or ALLOWED[from][to] then body(from, to, ALLOWED[from][to] or false) end
    end
  end
end

support.each_store(function(open)
  describe("A status", function()
    local WAYS = {
      update_status = function(store, to) return store:update_status("r", to) end,
      put = function(store, to) return store:put("r", { status = to }) end,
    }

    for way, change in pairs(WAYS) do
      each_change(function(from, to, allowed)
        it(("%s by %s from %s to %s"):format(allowed and "goes" or "never goes", way, from, to), function()
          local store = open()
          assert(store:put("r", { thread_id = "t", status = from }))
          local events = #support.events(store)
          if allowed then
            assert.is_true(change(store, to))
            assert.equal(to, store:get("r").status)
            assert.equal(events + (from == to and 0 or 1), #support.events(store))
          else
            local before = store:get "r"
            local err = support.refused("invalid_transition", change(store, to))
            assert.same({ from, to }, { err.from, err.to })
            assert.same(before, store:get "r")
            assert.equal(events, #support.events(store))
          end
        end)
      end)
    end
  end)

  describe("update_status", function()
    it("is false when there is no such row, and writes nothing", function()
      local store = open()
      assert.is_false(store:update_status("r", "running"))
      assert.equal(0, #support.events(store))
    end)

    it("stores error and stop reason, and leaves them alone when they are not given", function()
      local store = open()
      assert(store:put("r", { thread_id = "t", status = "running" }))
      assert.is_true(store:update_status("r", "error", { error = "boom", stop_reason = "test" }))
      assert.is_true(store:update_status("r", "error"))
      local run = store:get "r"
      assert.same({ "error", "boom", "test" }, { run.status, run.error, run.stop_reason })
    end)

    it("stamps started, ended and updated times", function()
      local clock = support.clock()
      local store = open { clock = clock.read, monotonic = clock.read }
      assert(store:put("r", { thread_id = "t" }))
      clock.advance(1)
      assert(store:update_status("r", "running"))
      clock.advance(1)
      assert(store:update_status("r", "success"))
      local run = store:get "r"
      assert.equal("2026-01-01T00:00:01+00:00", run.started_at)
      assert.equal("2026-01-01T00:00:02+00:00", run.ended_at)
      assert.equal("2026-01-01T00:00:02+00:00", run.updated_at)
    end)

    it("obeys only the fence that holds", function()
      local store = open()
      assert(store:put("r", { thread_id = "t", session_id = 999, status = "running" }))
      local old = store:get("r").fence or 0
      assert.is_true(store:claim_for_takeover("r", { requeue = true }))
      local new = store:get("r").fence
      assert.is_true(new > old)
      if old > 0 then
        support.refused("stale_owner", store:update_status("r", "success", { fence = old }))
        support.refused("stale_owner", store:update_run_completion("r", { status = "success", fence = old }))
      end
      support.refused("stale_owner", store:update_status("r", "success", { fence = new + 1 }))
      support.refused("stale_owner", store:update_run_completion("r", { status = "success" }, new + 1))
      support.refused("stale_owner", store:update_run_progress("r", { total_tokens = 1, fence = new }, new + 1))
      assert.has_error(function() store:update_run_completion("r", { status = "success" }, "1") end)
      assert.equal("pending", store:get("r").status)
      assert.is_true(store:update_status("r", "running", { fence = new }))
    end)
  end)
end)
