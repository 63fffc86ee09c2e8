--- Making, listing and ending workers: their shapes, who they are, and what is refused.
local keel = require "keel"
local runtimes = require "support.runtime"
local support = require "support"

local worker_of, kinds = runtimes.worker, runtimes.kinds

support.each_store(function(open)
  local store, runtime

  before_each(function()
    store = open()
    runtime = runtimes.open(store)
  end)

  describe("A worker", function()
    it("WORKER-1: has the runtime's id, its own, a status and what was asked for", function()
      local worker = assert(runtime:create_worker(runtimes.request()))
      assert.equal(runtime:runtime_id(), worker.worker_ref.runtime_id)
      assert.equal("rt", worker.runtime_id)
      assert.equal(worker.worker_ref.worker_id, worker.worker_id)
      assert.equal("running", worker.status)
      assert.same({ id = "bundle-1" }, worker.config_bundle)

      local list = assert(runtime:list_workers())
      assert.equal(1, #list)
      assert.same(worker.worker_ref, list[1].worker_ref)
      assert.equal(1, list[1].requested_capability_count)
      assert.is_true(list[1].has_config_bundle)
      assert.is_nil(list[1].requested_capabilities)
      assert.is_nil(list[1].config_bundle)

      local detail = assert(runtime:worker_detail(worker.worker_ref))
      assert.equal(worker.worker_id, detail.worker_id)
      assert.same({ kind = "task", objective = "count the sheep" }, detail.intent)
      assert.equal(0, detail.transcript_len)
      assert.equal(2, detail.last_event_id)
      assert.same(worker, detail)
    end)

    it("WORKER-1: has defaults for everything", function()
      local worker = assert(runtime:create_worker())
      assert.same({ kind = "assistant" }, worker.intent)
      assert.same({ kind = "runtime_default" }, worker.profile)
      assert.is_nil(worker.config_bundle)
      for _, name in ipairs { "requested_capabilities", "workspace_refs", "mount_refs" } do
        assert.equal(0, #worker[name])
        assert.equal("[]", keel.json.encode(worker[name]))
      end
      local summary = assert(runtime:list_workers())[1]
      assert.equal(0, summary.requested_capability_count)
      assert.is_false(summary.has_config_bundle)
    end)

    it("keeps every kind of intent, profile, capability and reference", function()
      for _, more in ipairs {
        { intent = { kind = "assistant", purpose = "to help" } },
        { intent = { kind = "role", role = "editor" } },
        { intent = { kind = "role", role = "editor", purpose = "\u{1F411}" } },
        { profile = { kind = "builtin", value = "small" } },
        { profile = { kind = "named", value = "mine" } },
        { requested_capabilities = { { name = "a" }, { name = "b", reason = "because" } } },
        { workspace_refs = { { name = "w", reference = "git:x#y" } }, mount_refs = { { name = "m", reference = "" } } },
      } do
        local detail = assert(runtime:worker_detail(worker_of(runtime, more)))
        for name, value in pairs(more) do assert.same(value, detail[name]) end
      end
    end)

    it("WORKER-2: of another runtime is wrong_runtime, an unknown one not_found, whatever else is wrong", function()
      local other = runtimes.open(store, { runtime_id = "other" })
      local theirs = worker_of(other)
      local unknown = { runtime_id = "rt", worker_id = support.unknown_id() }
      local calls = {
        worker_detail = {}, send_input = { { kind = "user", content = "hi" } }, stop_worker = {}, cancel_worker = {},
        transcript_projection = { { limit = 0 } },
      }
      for name, arguments in pairs(calls) do
        local err = support.refused("wrong_runtime", runtime[name](runtime, theirs, table.unpack(arguments)))
        assert.equal("rt", err.expected)
        assert.equal("other", err.actual)
        support.refused("not_found", runtime[name](runtime, unknown, table.unpack(arguments)))
      end
      local own = worker_of(runtime)
      for _, state in ipairs { "running", "stopped" } do
        for name, argument in pairs { send_input = { kind = "user", content = "" }, stop_worker = "\xff" } do
          support.refused("wrong_runtime", runtime[name](runtime, theirs, argument))
          support.refused("not_found", runtime[name](runtime, unknown, argument))
          support.refused("invalid_request", runtime[name](runtime, own, argument))
        end
        support.refused("not_found", runtime:cancel_worker(unknown))
        if state == "running" then assert(runtime:stop()) end
      end
      assert(runtime:start())
      support.refused("wrong_runtime", runtime:list_workers { after = theirs, limit = 0 })
      support.refused("not_found", runtime:list_workers { after = unknown, limit = 0 })
      -- A ref that only says it is ours gives no access.
      support.refused("not_found", runtime:worker_detail { runtime_id = "rt", worker_id = theirs.worker_id })
    end)

    it("is listed in order of creation, a page at a time", function()
      local made = {}
      for i = 1, 25 do made[i] = worker_of(runtime).worker_id end
      local listed, after = {}, nil
      repeat
        local page = assert(runtime:list_workers { after = after, limit = 7 })
        for _, worker in ipairs(page) do listed[#listed + 1] = worker.worker_id end
        after = page[#page] and page[#page].worker_ref
      until #page < 7
      assert.same(made, listed)
      assert.equal(made[3], runtime:list_workers({ after = made[2], limit = 1 })[1].worker_id)
      support.invalid("limit", runtime:list_workers { limit = 0 })
      support.refused("limit_too_large", runtime:list_workers { limit = 1001 })
    end)
  end)

  describe("Ending", function()
    it("WORKER-5: counts in the summary", function()
      local a, b = worker_of(runtime), worker_of(runtime)
      assert.equal("stopped", assert(runtime:stop_worker(a)).status)
      assert.equal("cancelled", assert(runtime:cancel_worker(b)).status)
      local summary = assert(runtime:summary())
      assert.equal(2, summary.worker_count)
      assert.equal(0, summary.active_worker_count)
      assert.equal(1, summary.stopped_worker_count)
      assert.equal(1, summary.cancelled_worker_count)
      assert.equal("cancelled", runtime:worker_detail(b).status)
      assert.same({}, store:verify())
    end)

    it("WORKER-6: is final: stop then cancel says stopped, with the stop's event, and the mirror image", function()
      for first, second in pairs { stop_worker = "cancel_worker", cancel_worker = "stop_worker" } do
        local ref = worker_of(runtime)
        local before = kinds(runtime)
        local ack = assert(runtime[first](runtime, ref))
        assert.same(ref, ack.worker_ref)
        assert.same(ack, runtime[second](runtime, ref, "too late"))
        assert.same(ack, runtime[first](runtime, ref))
        assert.equal(before .. (first == "stop_worker" and " worker_stopped" or " worker_cancelled"), kinds(runtime))
        assert.equal(ack.event_id, runtime:worker_detail(ref).last_event_id)
      end
    end)

    it("WORKER-6: tells the reason given, else that it happened", function()
      local messages = {}
      for _, reason in ipairs { false, "enough" } do
        for _, name in ipairs { "stop_worker", "cancel_worker" } do
          local ack = assert(runtime[name](runtime, worker_of(runtime), reason or nil))
          local page = assert(store:read_events({ next_event_id = ack.event_id, epoch = store:epoch() }, 1))
          messages[#messages + 1] = page.events[1].message
        end
      end
      assert.same({ "worker stopped", "worker cancelled", "enough", "enough" }, messages)
    end)

    it("WORKER-12: an input to a worker that is not running is invalid_request saying so", function()
      for _, name in ipairs { "stop_worker", "cancel_worker" } do
        local ref = worker_of(runtime)
        assert(runtime[name](runtime, ref))
        local before = runtimes.everything(runtime)
        local err = support.refused("invalid_request", runtime:send_input(ref, { kind = "user", content = "hello?" }))
        assert.truthy(err.message:find("not running", 1, true))
        assert.equal(before, runtimes.everything(runtime))
      end
    end)
  end)

  describe("WORKER-11: what is not acceptable names its place and leaves nothing:", function()
    local function leaves_nothing(field, call)
      local before, high = runtimes.everything(runtime), store:event_high_water()
      support.invalid(field, call())
      assert.equal(before, runtimes.everything(runtime))
      assert.equal(high, store:event_high_water())
    end

    for field, more in pairs {
      ["intent.objective"] = { intent = { kind = "task", objective = " \t\n\u{2003}\u{3000}" } },
      ["intent.kind"] = { intent = { kind = "wish" } },
      ["intent.role"] = { intent = { kind = "role", role = "" } },
      ["intent.purpose"] = { intent = { kind = "assistant", purpose = 5 } },
      ["intent.objectif"] = { intent = { kind = "task", objective = "x", objectif = "y" } },
      ["profile.value"] = { profile = { kind = "named", value = ("x"):rep(129) } },
      ["profile.kind"] = { profile = {} },
      ["config_bundle.id"] = { config_bundle = { id = "a\u{85}b" } },
      ["requested_capabilities[2].name"] = { requested_capabilities = { { name = "a" }, { name = "  " } } },
      ["requested_capabilities"] = { requested_capabilities = { name = "a" } },
      ["workspace_refs[1].reference"] = { workspace_refs = { { name = "a" } } },
      ["mount_refs[1].name"] = { mount_refs = { { name = "\255", reference = "x" } } },
      ["idempotency_key"] = { idempotency_key = "" },
    } do
      it(field, function()
        leaves_nothing(field, function() return runtime:create_worker(runtimes.request(more)) end)
      end)
    end

    for what, input in pairs {
      content = { kind = "user", content = "\u{00A0} \r\n" },
      ["content "] = { kind = "user", content = "" },
      ["content  "] = { kind = "user" },
      ["content   "] = { kind = "user", content = "a\255b" },
      kind = { kind = "assistant", content = "hi" },
      run_id = { kind = "user", content = "hi", run_id = "\0" },
      idempotency_key = { kind = "user", content = "hi", idempotency_key = ("k"):rep(129) },
    } do
      it("of an input: " .. what, function()
        local ref = worker_of(runtime)
        leaves_nothing(what:match "^%S+", function() return runtime:send_input(ref, input) end)
      end)
    end

    it("ids of runtimes", function()
      for _, id in ipairs { "", ("x"):rep(129), "a\1b", "\255" } do
        support.invalid("runtime_id", keel.runtime { store = store, runtime_id = id })
      end
      assert(keel.runtime { store = store, runtime_id = ("x"):rep(128) })
    end)
  end)

  it("WORKER-11: what is the caller's mistake raises", function()
    local ref = worker_of(runtime)
    support.raises("objectives", runtime.create_worker, runtime, { objectives = {} })
    support.raises("intent", runtime.create_worker, runtime, { intent = "task" })
    support.raises("worker ref", runtime.worker_detail, runtime, ref.worker_id)
    support.raises("worker ref", runtime.stop_worker, runtime, {})
    support.raises("text", runtime.send_input, runtime, ref, { text = "hi" })
    support.raises("send_input", runtime.send_input, runtime, ref, "hi")
    support.raises("stop_worker", runtime.stop_worker, runtime, ref, { "reason" })
    support.raises("limits", keel.runtime, { limits = 5 })
    support.raises("max", keel.runtime, { limits = { max = 5 } })
    support.raises("spawn", keel.runtime, { backend = {} })
    support.raises("diagnostics", keel.runtime, { diagnostics = { mine = "text" } })
  end)

  it("WORKER-11: what raises points at the caller", function()
    local ref = worker_of(runtime)
    for _, call in ipairs {
      function() local _ = runtime:create_worker(5) end, function() local _ = runtime:create_worker { x = 1 } end,
      function() local _ = runtime:send_input(ref, 5) end, function() local _ = runtime:send_input(ref, { x = 1 }) end,
      function() local _ = runtime:worker_detail(5) end, function() local _ = runtime:read_events(5) end,
      function() local _ = runtime:subscribe_events(5) end, function() local _ = runtime:list_workers(5) end,
    } do
      local _, message = pcall(call)
      assert.matches("workers_spec.lua:%d+: bad argument", message)
    end
  end)
end)
