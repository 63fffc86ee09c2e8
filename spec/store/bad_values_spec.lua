local support = require "support"

local BAD_IDS = {
  ["an empty text"] = "",
  ["257 bytes"] = ("x"):rep(257),
  ["a megabyte"] = ("x"):rep(1 << 20),
  ["a newline"] = "a\nb",
  ["a zero byte"] = "a\0b",
  ["a delete character"] = "a\x7fb",
  ["an escape"] = "\x1b[31m",
  ["invalid UTF-8"] = "a\xff",
  ["a cut character"] = "a\xc3",
  ["an overlong character"] = "\xc0\x80",
  ["a surrogate"] = "\xed\xa0\x80",
}

local BAD_TEXT = { ["invalid UTF-8"] = "a\xffb", ["a cut character"] = "x\xe4\xb8", ["a surrogate"] = "\xed\xb0\x80" }

support.each_store(function(open)
  --- Expects invalid_request for the field, and a store without rows and events.
  local function refused_unwritten(field, store, ...)
    support.invalid(field, ...)
    assert.equal(0, #support.events(store))
    assert.same({}, assert(store:list_inflight {}))
  end

  describe("invalid_request, and nothing written, for", function()
    for what, id in pairs(BAD_IDS) do
      it(what .. " as an id", function()
        local store = open()
        refused_unwritten("run_id", store, store:put(id, { thread_id = "t" }))
        for _, field in ipairs { "thread_id", "user_id", "assistant_id", "fingerprint", "batch_id" } do
          local fields = { thread_id = "t" }
          fields[field] = id
          refused_unwritten(field, store, store:put("r", fields))
        end
      end)
    end

    for what, text in pairs(BAD_TEXT) do
      it(what .. " as a text", function()
        local store = open()
        for _, field in ipairs { "error", "stop_reason", "model_name", "plan_entry", "last_ai_message" } do
          refused_unwritten(field, store, store:put("r", { thread_id = "t", [field] = text }))
        end
      end)
    end

    it("an unknown status, disconnect mode or kind", function()
      local store = open()
      for field, value in pairs { status = "done", on_disconnect = "ignore", operation_kind = "dance" } do
        refused_unwritten(field, store, store:put("r", { thread_id = "t", [field] = value }))
      end
    end)

    it("an unparseable time", function()
      local store = open()
      for _, field in ipairs { "created_at", "updated_at", "started_at", "ended_at", "scheduled_at", "deadline" } do
        refused_unwritten(field, store, store:put("r", { thread_id = "t", [field] = "tomorrow" }))
      end
    end)

    it("a counter below zero", function()
      local store = open()
      for _, field in ipairs { "total_tokens", "message_count", "losses", "attempt" } do
        refused_unwritten(field, store, store:put("r", { thread_id = "t", [field] = -1 }))
      end
    end)
  end)

  describe("invalid_request, and the row as it was, for", function()
    local store, before
    before_each(function()
      store = open()
      assert(store:put("r", { thread_id = "t", status = "running" }))
      before = store:get "r"
    end)

    local function unchanged()
      assert.same(before, store:get "r")
      assert.equal(1, #support.events(store))
    end

    it("ids in a question that are none", function()
      support.invalid("run_id", store:get "")
      support.invalid("run_id", store:delete "a\nb")
      support.invalid("user_id", store:get("r", { user_id = "" }))
      support.invalid("thread_id", store:list_by_thread "\xff")
      support.invalid("user_id", store:list_by_thread("t", { user_id = "" }))
      support.invalid("thread_id", store:list_inflight { thread_id = "" })
      support.invalid("thread_id", store:read_events(nil, nil, { thread_id = "" }))
      unchanged()
    end)

    it("an unknown status in a change", function()
      support.invalid("status", store:update_status("r", "finished"))
      support.invalid("status", store:update_run_completion("r", { status = "finished" }))
      unchanged()
    end)

    it("invalid UTF-8 in an error or a message", function()
      support.invalid("error", store:update_status("r", "error", { error = "\xff" }))
      local outcome = { status = "success", last_ai_message = "\xff" }
      support.invalid("last_ai_message", store:update_run_completion("r", outcome))
      support.invalid("last_ai_message", store:update_run_progress("r", { last_ai_message = "\xff" }))
      unchanged()
    end)

    it("a time in a query that is none", function()
      support.invalid("before", store:list_inflight { before = "yesterday" })
    end)

    it("a counter below zero", function()
      support.invalid("total_tokens", store:update_run_progress("r", { total_tokens = -5 }))
      unchanged()
    end)
  end)

  describe("A text over the maximum", function()
    it("is limit_too_large, and nothing is written", function()
      local store, text = open(), ("x"):rep((16 << 20) + 1)
      local err = support.refused("limit_too_large", store:put("r", { thread_id = "t", error = text }))
      assert.equal(16 << 20, err.max)
      assert.equal((16 << 20) + 1, err.requested)
      assert.is_nil(store:get "r")
    end)

    it("one byte shorter is stored", function()
      local store, text = open(), ("x"):rep(16 << 20)
      assert(store:put("r", { thread_id = "t", error = text }))
      assert.is_true(text == store:get("r").error)
    end)
  end)
end)
