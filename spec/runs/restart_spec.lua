local support = require "support"

local EVERYTHING = {
  assistant_id = "a", metadata = { nested = { list = { 1, 2.5, "x" } } }, kwargs = { big = math.maxinteger },
  multitask_strategy = "interrupt", on_disconnect = "continue", model_name = "big", user_id = "ann", priority = -3,
  max_attempts = 7, max_losses = 2, scheduled_at = "2026-05-01T00:00:00+00:00", deadline = "2026-06-01T12:00:00+00:00",
  batch_id = "b1", plan_entry = "p1", fingerprint = "f1", reconciler = "fail_orphans",
  worker_ref = { runtime_id = "r", worker_id = "w" },
}

local OUTCOME = {
  status = "error", error = "boom", error_code = "E1", exit_code = -7, stop_reason = "test", total_input_tokens = 1,
  total_output_tokens = 2, total_tokens = 3, llm_call_count = 4, lead_agent_tokens = 5, subagent_tokens = 6,
  middleware_tokens = 7, message_count = 8, last_ai_message = "bye", first_human_message = "hi",
  token_usage_by_model = { big = { tokens = 3, runs = 1 } },
}

local TIMES = { "created_at", "updated_at", "started_at", "ended_at" }

support.each_store(function(open)
  describe("After a restart", function()
    local function finished_run(store)
      local manager = support.manager(store)
      local run = assert(manager:create("t", EVERYTHING))
      assert(manager:set_status(run.run_id, "running"))
      assert(manager:update_run_completion(run.run_id, OUTCOME))
      return run
    end

    it("RUN-15: get and listing give a run with all its fields", function()
      local store = open()
      local run = finished_run(store)
      local manager = support.manager(store)
      for _, found in ipairs { manager:get(run.run_id), manager:list_by_thread("t")[1] } do
        for name, value in pairs(EVERYTHING) do assert.same(value, found[name], name) end
        for name, value in pairs(OUTCOME) do assert.same(value, found[name], name) end
        for _, name in ipairs(TIMES) do assert.equal(run[name], found[name], name) end
        assert.same({ run.revision, run.session_id, "run", 0 },
          { found.revision, found.session_id, found.operation_kind, found.losses })
      end
    end)

    it("RUN-15: the live record showed the same fields before", function()
      local run = finished_run(open())
      for name, value in pairs(EVERYTHING) do assert.same(value, run[name], name) end
      for name, value in pairs(OUTCOME) do assert.same(value, run[name], name) end
    end)

    it("RUN-15: such records are store_only and have no task", function()
      local store = open()
      local run = finished_run(store)
      local found = assert(support.manager(store):get(run.run_id))
      assert.is_true(found.store_only)
      assert.is_nil(found.task)
      assert.is_falsy(run.store_only)
    end)

    it("RUN-15: every run of a thread is there", function()
      local store = open()
      local manager = support.manager(store)
      local ids = {}
      for _ = 1, 12 do ids[assert(manager:create "t").run_id] = true end
      assert.same(ids, support.ids(support.manager(store):list_by_thread "t"))
    end)
  end)

  describe("A sparse row", function()
    it("RUN-17: hydrates as pending, cancel, reject, run, 0", function()
      local store = open()
      assert(store:put("sparse", { thread_id = "t" }))
      local manager = support.manager(store)
      for _, run in ipairs { assert(manager:get "sparse"), manager:list_by_thread("t")[1] } do
        assert.same({ "pending", "cancel", "reject", "run", 0, 0, 0 }, { run.status, run.on_disconnect,
          run.multitask_strategy, run.operation_kind, run.total_tokens, run.message_count, run.llm_call_count })
        assert.same({ {}, {} }, { run.metadata, run.kwargs })
      end
    end)

    it("RUN-17: is never skipped, and stands in the way like any other", function()
      local store = open()
      assert(store:put("sparse", { thread_id = "t", claimable = true }))
      local manager = support.manager(store)
      assert.equal(1, #manager:list_by_thread "t")
      assert.is_true(manager:has_inflight "t")
      assert.equal("sparse", support.refused("conflict", manager:create_or_reject "t").run_id)
    end)

    it("RUN-17: may be null on purpose", function()
      local keel = require "keel"
      local store = open()
      assert(store:put("r", { thread_id = "t", priority = 5, error = "x", metadata = { a = 1 } }))
      assert(store:put("r", { priority = keel.null, error = keel.null }))
      local run = assert(support.manager(store):get "r")
      assert.is_nil(run.error)
      assert.same({ a = 1 }, run.metadata)
    end)
  end)
end)

describe("After the process is gone", function()
  after_each(support.clean_up)

  it("RUN-15: another one finds the run with all its fields", function()
    local path = support.path()
    local child = support.spawn([[
      local manager = keel.run_manager { store = assert(keel.open((...))) }
      local run = assert(manager:create("t", { metadata = { from = "afar" }, user_id = "ann" }))
      assert(manager:set_status(run.run_id, "running"))
      assert(manager:update_run_completion(run.run_id, { status = "success", total_tokens = 5 }))
      say(run.run_id)
      hear()
    ]], { path })
    local run_id = child:hear()
    child:kill()
    local run = assert(support.manager(support.open(path)):get(run_id))
    assert.same({ "success", 5, "ann", true }, { run.status, run.total_tokens, run.user_id, run.store_only })
    assert.same({ from = "afar" }, run.metadata)
  end)
end)
