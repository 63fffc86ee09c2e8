local keel = require "keel"
local support = require "support"

local COUNTERS = {
  "total_tokens", "total_input_tokens", "total_output_tokens", "lead_agent_tokens", "subagent_tokens",
  "middleware_tokens",
}

--- Fields of a run of thread "t": each counter is another multiple of n.
local function used(status, n, more)
  local fields = { thread_id = "t", status = status }
  for i, name in ipairs(COUNTERS) do fields[name] = i * n end
  for name, value in pairs(more or {}) do fields[name] = value end
  return fields
end

--- What used(…) adds up to.
local function sums(n, rest)
  rest.total_tokens, rest.total_input_tokens, rest.total_output_tokens = n, 2 * n, 3 * n
  rest.by_caller = { lead_agent = 4 * n, subagent = 5 * n, middleware = 6 * n }
  return rest
end

support.each_store(function(open)
  describe("aggregate_tokens_by_thread", function()
    local store
    before_each(function() store = open() end)

    it("RUN-35: is all zeros for an empty thread", function()
      local by_status = { success = 0, error = 0, timeout = 0, interrupted = 0 }
      assert.same(sums(0, { total_runs = 0, by_model = {}, by_status = by_status }),
        store:aggregate_tokens_by_thread "t")
      by_status.running = 0
      assert.same(by_status, store:aggregate_tokens_by_thread("t", { include_active = true }).by_status)
    end)

    it("RUN-35: counts every final status, of this thread only", function()
      for i, status in ipairs { "pending", "running", "success", "error", "timeout", "interrupted" } do
        assert(store:put("r" .. i, used(status, math.tointeger(10 ^ i))))
      end
      assert(store:put("null", { thread_id = "t", total_tokens = 5 }))
      assert(store:put("elsewhere", { thread_id = "u", status = "success", total_tokens = 5 }))
      assert.same(sums(1111000, {
        total_runs = 4, by_model = { unknown = { tokens = 1111000, runs = 4 } },
        by_status = { success = 1, error = 1, timeout = 1, interrupted = 1 },
      }), store:aggregate_tokens_by_thread "t")
      assert.equal(4, store:aggregate_tokens_by_thread("t", { include_active = false }).total_runs)
    end)

    it("RUN-35: adds running runs with include_active, not pending ones", function()
      assert(store:put("a", used("running", 1)))
      assert(store:put("b", used("pending", 10)))
      assert(store:put("c", used("success", 100)))
      assert.same(sums(101, {
        total_runs = 2, by_model = { unknown = { tokens = 101, runs = 2 } },
        by_status = { running = 1, success = 1, error = 0, timeout = 0, interrupted = 0 },
      }), store:aggregate_tokens_by_thread("t", { include_active = true }))
    end)

    it("RUN-35: takes null counters for zero", function()
      assert(store:put("a", { thread_id = "t", status = "success" }))
      local totals = assert(store:aggregate_tokens_by_thread "t")
      assert.same({ 0, 1, 1 }, { totals.total_tokens, totals.total_runs, totals.by_model.unknown.runs })
    end)

    it("RUN-35: goes by model_name, which is unknown when there is none", function()
      assert(store:put("a", used("success", 1, { model_name = "m" })))
      assert(store:put("b", used("error", 2, { model_name = "m" })))
      assert(store:put("c", used("success", 4, { model_name = "näme" })))
      assert(store:put("d", used("success", 8)))
      assert(store:put("e", used("success", 16, { model_name = "" })))
      assert.same({
        m = { tokens = 3, runs = 2 }, ["näme"] = { tokens = 4, runs = 1 }, unknown = { tokens = 24, runs = 2 },
      }, store:aggregate_tokens_by_thread("t").by_model)
    end)

    it("RUN-35: goes by token_usage_by_model when that says what each model used", function()
      local first = { m = 1, n = 2 }
      local detail = { total_tokens = 4, input_tokens = 3, extra = { "}", { total_tokens = keel.null } } }
      local second = { n = detail, ['q"\\\n\1ß'] = { total_tokens = 8 } }
      assert(store:put("a", used("success", 100, { model_name = "x", token_usage_by_model = first })))
      assert(store:put("b", used("success", 100, { token_usage_by_model = second })))
      assert(store:put("c", used("success", 16, { model_name = "m" })))
      local totals = assert(store:aggregate_tokens_by_thread "t")
      assert.same({
        m = { tokens = 17, runs = 2 }, n = { tokens = 6, runs = 2 }, ['q"\\\n\1ß'] = { tokens = 8, runs = 1 },
      }, totals.by_model)
      assert.same({ 216, 3 }, { totals.total_tokens, totals.total_runs })
    end)

    it("RUN-35: goes by model_name when token_usage_by_model is of another shape", function()
      local others = { {}, { m = 1.5 }, { m = -1 }, { m = "1" }, { m = {} }, { m = { input_tokens = 1 } },
        { m = 1, n = true }, keel.array { 1 }, { m = keel.null } }
      for i, usage in ipairs(others) do
        assert(store:put("r" .. i, used("success", 1, { model_name = "x", token_usage_by_model = usage })))
      end
      assert.same({ x = { tokens = #others, runs = #others } }, store:aggregate_tokens_by_thread("t").by_model)
    end)

    it("RUN-35: leaves reservations out", function()
      for _, kind in ipairs { "run", "checkpoint_write", "artifact_write", "delete" } do
        assert(store:put(kind, used("success", 1, { operation_kind = kind })))
      end
      assert.equal(1, store:aggregate_tokens_by_thread("t").total_runs)
    end)

    it("RUN-35: is exact to the largest integer, and refuses what is beyond", function()
      assert(store:put("a", { thread_id = "t", status = "success", total_tokens = math.maxinteger }))
      assert.equal(math.maxinteger, store:aggregate_tokens_by_thread("t").total_tokens)
      assert(store:put("b", { thread_id = "t", status = "success", total_tokens = 1 }))
      local err = support.refused("limit_too_large", store:aggregate_tokens_by_thread "t")
      assert.same({ "total_tokens", math.maxinteger }, { err.field, err.max })
    end)

    it("RUN-35: counts what a manager and its completion wrote", function()
      local manager = support.manager(store)
      local run = assert(manager:create("t", { model_name = "m" }))
      assert(manager:set_status(run.run_id, "running"))
      assert(manager:update_run_progress(run.run_id, { total_tokens = 5 }))
      assert.equal(5, store:aggregate_tokens_by_thread("t", { include_active = true }).by_model.m.tokens)
      assert(manager:update_run_completion(run.run_id, { status = "success", total_tokens = 9, lead_agent_tokens = 9 }))
      local totals = assert(store:aggregate_tokens_by_thread "t")
      assert.same({ 9, 9, 1 }, { totals.total_tokens, totals.by_caller.lead_agent, totals.by_status.success })
    end)

    it("is part of a transaction", function()
      local tx = assert(store:begin())
      assert(tx:put("a", used("success", 1)))
      assert.equal(1, tx:aggregate_tokens_by_thread("t").total_tokens)
      support.refused("busy", store:aggregate_tokens_by_thread "t")
      tx:rollback()
      assert.equal(0, store:aggregate_tokens_by_thread("t").total_runs)
    end)

    it("is invalid_request for a thread that can be none", function()
      for _, bad in ipairs { "", ("x"):rep(257), "a\nb", "\xff" } do
        support.invalid("thread_id", store:aggregate_tokens_by_thread(bad))
      end
    end)

    it("raises for wrong types, unknown options and a closed store", function()
      support.raises("thread_id", store.aggregate_tokens_by_thread, store)
      support.raises("thread_id", store.aggregate_tokens_by_thread, store, 5)
      support.raises("options", store.aggregate_tokens_by_thread, store, "t", true)
      support.raises("include_active", store.aggregate_tokens_by_thread, store, "t", { include_active = 1 })
      support.raises("unknown option 'active'", store.aggregate_tokens_by_thread, store, "t", { active = true })
      store:close()
      support.raises("the store is closed", store.aggregate_tokens_by_thread, store, "t")
    end)
  end)
end)

describe("Token totals of a file", function()
  after_each(support.clean_up)

  it("RUN-35: are the same after a restart, and in a read-only store", function()
    local path = support.path()
    local store = support.open(path)
    assert(store:put("a", used("success", 3, { token_usage_by_model = { m = 2 } })))
    local totals = assert(store:aggregate_tokens_by_thread "t")
    store:close()
    assert.same(totals, support.open(path, { readonly = true }):aggregate_tokens_by_thread "t")
  end)
end)
