local support = require "support"

local function kinds(store, filter)
  return support.pluck(support.events(store, filter), "kind")
end

local function gapless(events)
  for i, event in ipairs(events) do
    if event.id ~= i then return false end
  end
  return true
end

support.each_store(function(open)
  describe("The log", function()
    it("starts at 1 and grows by one with every change (EVENT-1)", function()
      local store = open()
      assert(store:put("a", { thread_id = "t" }))
      assert(store:update_status("a", "running"))
      assert(store:update_status("a", "success"))
      assert(store:put("b", { thread_id = "t" }))
      assert.same({ 1, 2, 3, 4 }, support.pluck(support.events(store), "id"))
      assert.same({ "run_created", "run_started", "run_finished", "run_created" }, kinds(store))
    end)

    it("EVENT-1: no id is burnt by a refusal, a rollback or a call that changes nothing", function()
      local store = open()
      assert(store:put("a", { thread_id = "t", status = "success" }))
      support.refused("invalid_transition", store:update_status("a", "running"))
      support.refused("invalid_request", store:put("b", { thread_id = "" }))
      support.refused("invalid_request", store:append_event { kind = "" })
      do
        local tx <close> = assert(store:begin())
        assert(tx:put("c", { thread_id = "t" }))
        assert(tx:append_event { kind = "note" })
      end
      assert(store:update_status("a", "success"))
      assert(store:put("d", { thread_id = "t" }))
      assert.same({ 1, 2 }, support.pluck(support.events(store), "id"))
    end)

    it("EVENT-1: goes on after deletes, and an id is never used again", function()
      local store = open()
      for i = 1, 3 do assert(store:put("r" .. i, { thread_id = "t" })) end
      for i = 1, 3 do assert.is_true(store:delete("r" .. i)) end
      assert(store:put("r4", { thread_id = "t" }))
      local events = support.events(store)
      assert.is_true(gapless(events))
      assert.same({ "run_created", "run_created", "run_created", "run_deleted", "run_deleted", "run_deleted",
        "run_created" }, support.pluck(events, "kind"))
    end)

    it("says of each event what happened, when, and to whom", function()
      local clock = support.clock()
      local store = open { clock = clock.read, monotonic = clock.read }
      assert(store:put("r", { thread_id = "t" }))
      clock.advance(1.5)
      assert(store:update_status("r", "error", { error = "boom", stop_reason = "test" }))
      local event = support.events(store)[2]
      assert.same({ "run_finished", "2026-01-01T00:00:01.500000+00:00", "t", "r" },
        { event.kind, event.at, event.thread_id, event.run_id })
      assert.same({ "error", "boom", "test" }, { event.data.status, event.data.error, event.data.stop_reason })
    end)

    it("has no event for counters, progress or metadata", function()
      local store = open()
      assert(store:put("r", { thread_id = "t", status = "running" }))
      assert(store:update_run_progress("r", { total_tokens = 1 }))
      assert(store:put("r", { metadata = { a = 1 } }))
      assert.equal(1, #support.events(store))
    end)

    it("takes callers' own events between the kernel's", function()
      local store = open()
      assert(store:put("r", { thread_id = "t" }))
      assert.equal(2, store:append_event {
        kind = "note", run_id = "r", thread_id = "t", message = "hello", data = { n = 1 },
      })
      local event = support.events(store)[2]
      assert.same({ "note", "r", "t", "hello", { n = 1 } },
        { event.kind, event.run_id, event.thread_id, event.message, event.data })
    end)

    it("refuses an event that is none, and writes nothing", function()
      local store = open()
      support.invalid("kind", store:append_event { kind = "" })
      support.invalid("kind", store:append_event { kind = ("k"):rep(257) })
      support.invalid("run_id", store:append_event { kind = "note", run_id = "a\nb" })
      support.invalid("data", store:append_event { kind = "note", data = { print } })
      support.raises("kind", store.append_event, store, {})
      support.raises("id", store.append_event, store, { kind = "note", id = 7 })
      support.raises("colour", store.append_event, store, { kind = "note", colour = "red" })
      assert.equal(0, #support.events(store))
    end)

    it("F-19: refuses the kernel's kinds from callers, and nothing that only sounds like them", function()
      local store = open()
      for _, kind in ipairs { "run_created", "run_started", "run_finished", "run_requeued", "run_rescheduled",
        "run_settled", "run_cancel_requested", "run_deleted", "run_rejected", "run_reused", "limit_changed",
        "runtime_started", "runtime_stopped", "worker_created", "worker_input_accepted", "worker_stopped",
        "worker_cancelled" } do
        local err = support.invalid("kind", store:append_event { kind = kind, data = { delay = "soon" } })
        assert.matches(kind, err.message)
      end
      support.invalid("kind", store:append_admission { kind = "run_finished" })
      assert.equal(0, #support.events(store))
      for _, kind in ipairs { "run_note", "run_finishe", "run_finished2", "created" } do
        assert(store:append_event { kind = kind })
      end
    end)

    it("EVENT-2: an event and its change commit together, or not at all", function()
      local store = open()
      local tx = assert(store:begin())
      assert(tx:put("r", { thread_id = "t" }))
      assert(tx:update_status("r", "running"))
      tx:rollback()
      assert.is_nil(store:get "r")
      assert.equal(0, #support.events(store))
      assert(store:transaction(function(again)
        assert(again:put("r", { thread_id = "t" }))
        return again:append_event { kind = "note", run_id = "r" }
      end))
      assert.equal("pending", store:get("r").status)
      assert.same({ "run_created", "note" }, kinds(store))
    end)
  end)

  describe("Text in events", function()
    it("EVENT-6: any UTF-8 text, newlines, separators and zero bytes in values survive", function()
      local store = open()
      local texts = { "", "Grüße, 世界 🚲", "a\nb\r\nc", "\u{2028}\u{2029}", "\0", "a\0b\0", "\u{10FFFF}", "\x01\x1f\x7f" }
      for _, text in ipairs(texts) do
        assert(store:append_event { kind = "note", message = text, data = { text = text, list = { text } } })
      end
      for i, event in ipairs(support.events(store)) do
        assert.equal(texts[i], event.message or "")
        assert.same({ text = texts[i], list = { texts[i] } }, event.data)
      end
    end)

    it("EVENT-6: the error and stop reason of a run survive in its event as they are in its row", function()
      local store = open()
      for i, text in ipairs { 'he said "no"\n\\ and left\t.', "a\0b", "\u{2028}\u{1F6B2}", "\x01\x1f\x7f", '"', "" } do
        assert(store:put("r" .. i, { thread_id = "t", status = "running" }))
        assert(store:update_status("r" .. i, "error", { error = text, stop_reason = text .. text }))
        local event = support.events(store, { run_id = "r" .. i, kinds = { "run_finished" } })[1]
        assert.same({ "error", text, text .. text }, { event.data.status, event.data.error, event.data.stop_reason })
        assert.equal(text, store:get("r" .. i).error)
      end
    end)

    it("EVENT-6: large payloads survive", function()
      local store, text = open(), ("0123456789"):rep(200000)
      assert(store:append_event { kind = "note", message = text, data = { text = text } })
      local event = support.events(store)[1]
      assert.is_true(text == event.message)
      assert.is_true(text == event.data.text)
    end)

    it("EVENT-6: invalid UTF-8 is invalid_request, and nothing is written", function()
      local store = open()
      for _, text in ipairs { "\xff", "a\xc3", "\xed\xa0\x80", "\xf5\x80\x80\x80" } do
        support.invalid("message", store:append_event { kind = "note", message = text })
        support.invalid("data", store:append_event { kind = "note", data = { text } })
        support.invalid("kind", store:append_event { kind = text })
      end
      assert.equal(0, #support.events(store))
    end)
  end)
end)

describe("The log of a file", function()
  after_each(support.clean_up)

  it("EVENT-1: goes on without a gap across restarts", function()
    local path = support.path()
    for i = 1, 4 do
      local store = support.open(path)
      assert(store:put("r" .. i, { thread_id = "t" }))
      if i == 3 then assert(store:delete "r3") end
      store:close()
    end
    assert.same({ 1, 2, 3, 4, 5 }, support.pluck(support.events(support.open(path)), "id"))
  end)

  it("EVENT-1: goes on without a gap in processes that write at once, and in one that is killed", function()
    local path, children = support.path(), {}
    for i = 1, 3 do
      children[i] = support.spawn([[
        local path, name = ...
        local store = assert(keel.open(path, { durability = "normal" }))
        say "ready" hear()
        for n = 1, 60 do
          assert(store:put(name .. "-" .. n, { thread_id = "t" }))
          if n == 30 then say "halfway" end
          if n % 3 == 0 then assert(store:delete(name .. "-" .. n)) end
        end
      ]], { path, "p" .. i })
    end
    for _, child in ipairs(children) do child:expect "ready" end
    for _, child in ipairs(children) do child:say "go" end
    children[1]:expect "halfway"
    children[1]:kill()
    for i = 2, 3 do children[i]:finish() end
    local store = support.open(path)
    local events = support.events(store)
    assert.is_true(gapless(events))
    assert.is_true(#events >= 2 * 80 + 30)
    assert.same({}, store:verify())
  end)
end)
