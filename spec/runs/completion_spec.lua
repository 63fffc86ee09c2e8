local support = require "support"

local COUNTERS = { total_input_tokens = 1, total_output_tokens = 2, total_tokens = 3, llm_call_count = 4,
  lead_agent_tokens = 5, subagent_tokens = 6, middleware_tokens = 7, message_count = 8 }

support.each_store(function(open)
  local function started(overrides, options)
    local store = open()
    local wrapped, calls = support.wrap(store, overrides)
    local manager = support.manager(wrapped, options)
    local run = assert(manager:create "t")
    assert(manager:set_status(run.run_id, "running"))
    return manager, run, store, calls
  end

  describe("update_run_completion", function()
    it("stores status, counters and messages, in memory and store", function()
      local manager, run, store = started()
      local fields = { status = "success", last_ai_message = "bye", first_human_message = "hi",
        token_usage_by_model = { big = { tokens = 3, runs = 1 } }, result = { answer = 42 },
        progress = { done = 3, total = 3 } }
      for name, value in pairs(COUNTERS) do fields[name] = value end
      assert.is_true(manager:update_run_completion(run.run_id, fields))
      for _, found in ipairs { run, store:get(run.run_id) } do
        for name, value in pairs(fields) do assert.same(value, found[name], name) end
      end
    end)

    it("RUN-12: if completion finds no row, the row is recreated and the second attempt stores it all", function()
      local manager, run, store, calls = started()
      assert.is_true(store:delete(run.run_id))
      assert.is_true(manager:update_run_completion(run.run_id,
        { status = "success", total_tokens = 42, last_ai_message = "bye" }))
      local row = assert(store:get(run.run_id))
      assert.same({ "success", 42, "bye", "t" }, { row.status, row.total_tokens, row.last_ai_message, row.thread_id })
      assert.equal(2, calls.update_run_completion)
    end)

    for what, options_of in pairs {
      ["whose parent is gone, too"] = function(manager, store)
        local parent = assert(manager:create "p").run_id
        return { parent_run_id = parent }, function() assert(store:delete(parent)) end
      end,
      ["whose parent was asked to stop"] = function(manager)
        local parent = assert(manager:create "p").run_id
        return { parent_run_id = parent }, function() assert(manager:cancel(parent)) end
      end,
      ["that had slots"] = function() return { slots = { { name = "gpu", max = 1 } } }, function() end end,
    } do
      it("RUN-12: recreates the row of a run " .. what, function()
        local store = open()
        local manager = support.manager(store)
        local options, change = options_of(manager, store)
        local run = assert(manager:create("t", options))
        assert.equal("started", manager:try_start(run.run_id))
        assert.is_true(store:delete(run.run_id))
        change()
        local outcome = { status = "error", error = "boom", error_code = "E", total_tokens = 42, result = 7 }
        assert.is_true(manager:update_run_completion(run.run_id, outcome))
        local row = assert(store:get(run.run_id))
        for name, value in pairs(outcome) do
          assert.same({ value, value }, { row[name], run[name] }, name)
        end
        assert.is_truthy(row.ended_at)
        assert.same({}, store:verify())
      end)
    end

    it("RUN-12: if that also finds no row, a warning says so and false comes back", function()
      local log, lines = support.log()
      local manager, run, _, calls = started({ update_run_completion = function() return false end }, { log = log })
      assert.is_false((manager:update_run_completion(run.run_id, { status = "success" })))
      assert.equal(2, calls.update_run_completion)
      local warned = false
      for _, line in ipairs(lines) do
        warned = warned or line.level == "warn"
          and line.message:find("affected no rows after row recreation", 1, true) ~= nil
      end
      assert.is_true(warned)
      assert.equal("running", run.status)
    end)

    it("RUN-34: never replaces a different final status or its error, and says true", function()
      local manager, run, store = started()
      assert(manager:cancel(run.run_id))
      assert.is_true(manager:update_run_completion(run.run_id, { status = "error", error = "late", total_tokens = 9 }))
      assert.same({ "interrupted", 9 }, { run.status, run.total_tokens })
      local row = store:get(run.run_id)
      assert.same({ "interrupted", 9 }, { row.status, row.total_tokens })
      assert.is_nil(row.error)
      assert.is_nil(run.error)
    end)

    it("RUN-34: holds against a status that another wrote, and tells the record", function()
      local manager, run, store = started()
      assert(store:update_status(run.run_id, "timeout", { error = "too late" }))
      assert.is_true(manager:update_run_completion(run.run_id, { status = "success", total_tokens = 9 }))
      assert.same({ "timeout", "too late", 9 }, { run.status, run.error, run.total_tokens })
      assert.same({ "timeout", "too late" }, { store:get(run.run_id).status, store:get(run.run_id).error })
    end)

    it("RUN-13: is not shown as done when it could not be persisted", function()
      local manager, run, store = started { update_run_completion = support.fail(math.huge, support.broken()) }
      local done, err = manager:update_run_completion(run.run_id, { status = "success", total_tokens = 9 })
      assert.is_falsy(done)
      assert.equal("store_corrupt", err.code)
      assert.same({ "running", "running" }, { run.status, store:get(run.run_id).status })
    end)

    it("RUN-9: is tried again when the database is locked", function()
      local manager, run, store, calls = started { update_run_completion = support.fail(2, support.busy()) }
      assert.is_true(manager:update_run_completion(run.run_id, { status = "success" }))
      assert.same({ 3, "success" }, { calls.update_run_completion, store:get(run.run_id).status })
    end)

    it("RUN-36: keeps the first 2000 characters of the messages", function()
      local manager, run, store = started()
      assert.is_true(manager:update_run_completion(run.run_id,
        { status = "success", last_ai_message = ("世"):rep(2001), first_human_message = ("é"):rep(5000) }))
      for _, found in ipairs { run, store:get(run.run_id) } do
        assert.equal(("世"):rep(2000), found.last_ai_message)
        assert.equal(("é"):rep(2000), found.first_human_message)
      end
    end)

    it("of an unknown run is false", function()
      assert.is_falsy((support.manager(open()):update_run_completion(support.unknown_id(), { status = "success" })))
    end)
  end)

  describe("update_run_progress", function()
    it("RUN-34: changes counters while the run is running, and leaves omitted fields alone", function()
      local manager, run, store = started()
      assert.is_true(manager:update_run_progress(run.run_id, { total_tokens = 10, message_count = 1 }))
      assert.is_true(manager:update_run_progress(run.run_id, { message_count = 2 }))
      assert.same({ 10, 2 }, { run.total_tokens, run.message_count })
      assert.same({ 10, 2 }, { store:get(run.run_id).total_tokens, store:get(run.run_id).message_count })
    end)

    it("RUN-34: changes nothing of a run that is not running", function()
      local manager, run, store = started()
      assert(manager:set_status(run.run_id, "success"))
      local before = store:get(run.run_id)
      manager:update_run_progress(run.run_id, { total_tokens = 10 })
      assert.equal(0, run.total_tokens)
      assert.same(before, store:get(run.run_id))
    end)

    it("refuses a status: that is not progress", function()
      local manager, run = started()
      support.raises("status", manager.update_run_progress, manager, run.run_id, { status = "success" })
      assert.equal("running", run.status)
    end)
  end)

  describe("The model's name", function()
    it("RUN-28: is stored by guarded create, hydrated, and nil when absent", function()
      local store = open()
      local manager = support.manager(store)
      local named = assert(manager:create_or_reject("t", { model_name = "big" }))
      local nameless = assert(manager:create_or_reject "u")
      local after = support.manager(store)
      assert.equal("big", after:get(named.run_id).model_name)
      assert.is_nil(after:get(nameless.run_id).model_name)
      assert.is_nil(nameless.model_name)
    end)

    it("RUN-28: is changed by an update, in memory and store", function()
      local manager, run, store = started()
      assert.is_true(manager:update_model_name(run.run_id, "bigger"))
      assert.same({ "bigger", "bigger" }, { run.model_name, store:get(run.run_id).model_name })
      assert.is_false(manager:update_model_name(support.unknown_id(), "x"))
    end)

    it("RUN-28: is cut to 128 characters", function()
      local store = open()
      local manager = support.manager(store)
      local run = assert(manager:create_or_reject("t", { model_name = ("é"):rep(129) }))
      assert.equal(("é"):rep(128), store:get(run.run_id).model_name)
      assert.equal(("é"):rep(128), run.model_name)
      assert(manager:update_model_name(run.run_id, ("m"):rep(1000)))
      assert.equal(("m"):rep(128), run.model_name)
    end)
  end)
end)
