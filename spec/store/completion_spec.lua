local keel = require "keel"
local support = require "support"

local COUNTERS = {
  total_input_tokens = 10, total_output_tokens = 20, total_tokens = 30, llm_call_count = 4, lead_agent_tokens = 5,
  subagent_tokens = 6, middleware_tokens = 7, message_count = 8,
}

support.each_store(function(open)
  local function store_with(status, fields)
    local store = open()
    fields = fields or {}
    fields.thread_id, fields.status = "t", status
    assert(store:put("r", fields))
    return store
  end

  describe("update_run_completion", function()
    it("is false when there is no such row", function()
      local store = open()
      assert.is_false(store:update_run_completion("r", { status = "success" }))
      assert.is_nil(store:get "r")
    end)

    it("stores status, counters, usage and the messages", function()
      local store = store_with "running"
      local fields = { status = "success", last_ai_message = "done", first_human_message = "please",
        token_usage_by_model = { big = { tokens = 30, runs = 1 } }, model_name = "big", exit_code = 0 }
      for name, value in pairs(COUNTERS) do fields[name] = value end
      assert.is_true(store:update_run_completion("r", fields))
      local run = store:get "r"
      for name, value in pairs(fields) do assert.same(value, run[name], name) end
    end)

    it("RESULT-1: stores any JSON value as the result, up to 1 MiB", function()
      for _, result in ipairs { 7, 2.5, "text", true, false, { a = { 1, 2 } }, keel.array {} } do
        local store = store_with "running"
        local found, written = store:update_run_completion("r", { status = "success", result = result })
        assert.is_true(found)
        assert.same({ result, result }, { store:get("r").result, written.result })
      end
      local store = store_with "running"
      assert.is_true(store:update_run_completion("r", { result = ("x"):rep(1024 * 1024 - 2) }))
      local done, err = store:update_run_completion("r", { result = ("x"):rep(1024 * 1024) })
      assert.is_nil(done)
      assert.same({ "limit_too_large", "result", 1024 * 1024 + 2, 1024 * 1024 },
        { err.code, err.field, err.requested, err.max })
      support.invalid("result", store:update_run_completion("r", { result = print }))
    end)

    it("keeps the result of who ended the run first", function()
      local store = store_with "running"
      assert.is_true(store:update_run_completion("r", { status = "success", result = 1 }))
      assert.is_true(store:update_run_completion("r", { status = "error", result = 2 }))
      assert.is_true(store:update_run_completion("r", { result = 3 }))
      assert.equal(1, store:get("r").result)
    end)

    it("says run_finished with status, error and stop reason, once", function()
      local store = store_with "running"
      local outcome = { status = "error", error = "boom", stop_reason = "test", error_code = "E1", exit_code = 3 }
      assert.is_true(store:update_run_completion("r", outcome))
      assert.is_true(store:update_run_completion("r", outcome))
      local finished = support.events(store, { kinds = { "run_finished" } })
      assert.equal(1, #finished)
      assert.same({ "error", "boom", "test" },
        { finished[1].data.status, finished[1].data.error, finished[1].data.stop_reason })
      assert.same({ "E1", 3 }, { store:get("r").error_code, store:get("r").exit_code })
    end)

    it("RUN-34: never replaces a different final status or its error, keeps counters, and is true", function()
      local store = store_with("interrupted", { error = "stopped by a person" })
      assert.is_true(store:update_run_completion("r", { status = "error", error = "late", total_tokens = 5 }))
      local run = store:get "r"
      assert.same({ "interrupted", "stopped by a person", 5 }, { run.status, run.error, run.total_tokens })
    end)

    it("RUN-34: leaves no event when the run was final already", function()
      local store = store_with "success"
      local before = #support.events(store)
      assert.is_true(store:update_run_completion("r", { status = "error", error = "late", total_tokens = 5 }))
      assert.equal(before, #support.events(store))
    end)

    it("refuses what a completion does not carry", function()
      local store = store_with "running"
      support.raises("thread_id", store.update_run_completion, store, "r", { thread_id = "u" })
      assert.equal("t", store:get("r").thread_id)
    end)
  end)

  describe("update_run_progress", function()
    it("is false when there is no such row", function()
      assert.is_false(open():update_run_progress("r", COUNTERS))
    end)

    it("RUN-34: changes counters while the run is running, without an event", function()
      local store = store_with "running"
      local before = #support.events(store)
      assert.is_true(store:update_run_progress("r", COUNTERS))
      local run = store:get "r"
      for name, value in pairs(COUNTERS) do assert.equal(value, run[name], name) end
      assert.equal(before, #support.events(store))
    end)

    it("RUN-34: leaves omitted fields alone", function()
      local store = store_with "running"
      assert(store:update_run_progress("r", { total_tokens = 10, last_ai_message = "one" }))
      assert(store:update_run_progress("r", { message_count = 3 }))
      local run = store:get "r"
      assert.same({ 10, 3, "one" }, { run.total_tokens, run.message_count, run.last_ai_message })
    end)

    for _, status in ipairs { "pending", "success", "error", "timeout", "interrupted" } do
      it("RUN-34: changes nothing while the run is " .. status, function()
        local store = store_with(status)
        local before = store:get "r"
        store:update_run_progress("r", { total_tokens = 5, last_ai_message = "x" })
        assert.same(before, store:get "r")
      end)
    end
  end)

  describe("Texts with a maximum", function()
    it("RUN-36: messages keep up to 2000 characters, cut on a character boundary", function()
      local store = store_with "running"
      for _, character in ipairs { "x", "é", "世", "🚲" } do
        local whole = character:rep(2000)
        local messages = { last_ai_message = whole .. character, first_human_message = whole }
        assert(store:update_run_progress("r", messages))
        local run = store:get "r"
        assert.equal(whole, run.last_ai_message)
        assert.equal(whole, run.first_human_message)
      end
      assert(store:update_run_completion("r", { status = "success", last_ai_message = ("é"):rep(9999) }))
      assert.equal(2000, utf8.len(store:get("r").last_ai_message))
    end)

    it("RUN-28: a model name is cut to 128 characters, on a boundary", function()
      local store = store_with("running", { model_name = ("ü"):rep(500) })
      assert.equal(("ü"):rep(128), store:get("r").model_name)
      assert(store:put("r", { model_name = ("m"):rep(128) }))
      assert.equal(("m"):rep(128), store:get("r").model_name)
    end)
  end)
end)
