local support = require "support"

local BAD_IDS = { ["an empty text"] = "", ["257 bytes"] = ("x"):rep(257), ["a control character"] = "a\tb",
  ["a control character of two bytes"] = "a\u{9B}b",
  ["a zero byte"] = "a\0", ["invalid UTF-8"] = "\xff" }

local cycle = {}
cycle.cycle = cycle
local BAD_JSON = { ["a function"] = { f = print }, ["a cycle"] = cycle, ["NaN"] = { 0 / 0 },
  ["a mixed table"] = { 1, x = 2 }, ["invalid UTF-8"] = { "\xff" } }

support.each_store(function(open)
  for _, method in ipairs { "create", "create_or_reject" } do
    describe(method .. " gives invalid_request, and writes nothing, for", function()
      local store, manager
      before_each(function()
        store = open()
        manager = support.manager(store)
      end)

      local function refuses(field, thread_id, options)
        support.invalid(field, manager[method](manager, thread_id, options))
        assert.equal(0, #support.events(store))
        assert.is_false((manager:has_inflight "t"))
      end

      for what, id in pairs(BAD_IDS) do
        it(what .. " as an id", function()
          refuses("thread_id", id)
          for _, field in ipairs { "user_id", "assistant_id", "fingerprint", "batch_id" } do
            refuses(field, "t", { [field] = id })
          end
        end)
      end

      for what, value in pairs(BAD_JSON) do
        it(what .. " in metadata or kwargs", function()
          refuses("metadata", "t", { metadata = { deep = { value } } })
          refuses("kwargs", "t", { kwargs = { value } })
        end)
      end

      it("an unknown disconnect mode", function()
        refuses("on_disconnect", "t", { on_disconnect = "explode" })
      end)

      it("a time that is none", function()
        refuses("scheduled_at", "t", { scheduled_at = "soon" })
        refuses("deadline", "t", { deadline = "2026-02-30T00:00:00Z" })
      end)

      it("a number that is out of range", function()
        refuses("max_attempts", "t", { max_attempts = -1 })
        refuses("max_losses", "t", { max_losses = -1 })
      end)

      it("a time to live of a key that is none", function()
        for _, ttl in ipairs { 0, -1, 0 / 0, math.huge } do
          refuses("idempotency_ttl", "t", { idempotency_key = "k", idempotency_ttl = ttl })
        end
      end)

      it("raises for unknown options and wrong types, naming the option", function()
        for name, value in pairs { multitask_strategy = 42, strategy_options = "max", priority = "high",
          claimable = "yes", idempotency_key = 1, idempotency_ttl = "long", metadata = "x", max_attempts = 1.5,
          kwargs = 3, user_id = {}, scheduled_at = true, colour = "red" } do
          support.raises(name, manager[method], manager, "t", { [name] = value })
        end
        support.raises({ "thread_id", "#1" }, manager[method], manager, 42)
        support.raises({ "options", "#2" }, manager[method], manager, "t", "reject")
        assert.equal(0, #support.events(store))
      end)

      it("invalid UTF-8 in a text", function()
        refuses("model_name", "t", { model_name = "\xff" })
        refuses("plan_entry", "t", { plan_entry = "\xc3" })
      end)
    end)
  end

  describe("Bad input later on", function()
    local store, manager, run
    before_each(function()
      store = open()
      manager = support.manager(store)
      run = assert(manager:create "t")
    end)

    after_each(function()
      assert.equal("pending", run.status)
      assert.equal(1, #support.events(store))
    end)

    it("an error that is not UTF-8 is refused", function()
      support.invalid("error", manager:set_status(run.run_id, "error", { error = "\xff" }))
      support.invalid("error", manager:fail_pending(run.run_id, { error = "\xff" }))
    end)

    it("a negative counter is refused", function()
      local done, err = manager:update_run_completion(run.run_id, { status = "success", total_tokens = -1 })
      assert.is_falsy(done)
      assert.same({ "invalid_request", "total_tokens" }, { err.code, err.field })
    end)

    it("a time that is none is refused by recovery", function()
      support.invalid("before", manager:reconcile_orphaned_inflight_runs { before = "yesterday" })
    end)

    it("ids of a wrong type raise, naming the argument", function()
      for _, method in ipairs { "get", "cancel", "try_start", "delete", "fail_pending", "cleanup" } do
        support.raises({ "run_id", "#1" }, manager[method], manager, nil)
        support.raises({ "run_id", "#1" }, manager[method], manager, 42)
      end
      for _, method in ipairs { "update_run_completion", "update_run_progress" } do
        support.raises({ "run_id", "#1" }, manager[method], manager, nil, {})
        support.raises({ "fields", "#2" }, manager[method], manager, run.run_id, "success")
      end
      support.raises({ "run_id", "#1" }, manager.update_model_name, manager, {}, "big")
      support.raises({ "name", "#2" }, manager.update_model_name, manager, run.run_id, nil)
      support.raises({ "thread_id", "#1" }, manager.list_by_thread, manager, nil)
      support.raises({ "thread_id", "#1" }, manager.has_inflight, manager, {})
    end)

    it("unknown options raise, naming the option", function()
      support.raises("usr", manager.get, manager, run.run_id, { usr = "ann" })
      support.raises("offset", manager.list_by_thread, manager, "t", { offset = 3 })
      support.raises("why", manager.cancel, manager, run.run_id, { why = "x" })
      support.raises("why", manager.fail_pending, manager, run.run_id, { why = "x" })
      support.raises("since", manager.reconcile_orphaned_inflight_runs, manager, { since = "x" })
      support.raises("colour", manager.update_run_progress, manager, run.run_id, { colour = "red" })
    end)
  end)
end)

describe("keel.run_manager", function()
  local keel = require "keel"
  after_each(support.clean_up)

  it("raises for options of a wrong type, naming them", function()
    local store = support.open ":memory:"
    for name, value in pairs { store = 42, retry = "often", strategies = "all", log = "stderr", reconcilers = 7 } do
      local options = { store = store }
      options[name] = value
      support.raises(name, keel.run_manager, options)
    end
    support.raises({ "options", "#1" }, keel.run_manager, "store")
  end)

  it("raises for the options of a retry policy where a policy belongs, as dispatchers and runtimes do", function()
    for _, make in ipairs { keel.run_manager, keel.dispatcher, keel.runtime } do
      support.raises("'retry' must be a retry policy, got table", make,
        { store = support.open ":memory:", retry = { max_attempts = 3 } })
    end
  end)

  it("a whole number may be a float, and is kept as an integer", function()
    local manager = support.manager(support.open ":memory:")
    local other = assert(manager:create("t", { priority = 2.0 }))
    assert.equal("integer", math.type(other.priority))
    assert(manager:try_start(other.run_id))
    assert.is_true(manager:update_run_progress(other.run_id, { total_tokens = 5.0 }))
    assert.equal("integer", math.type(other.total_tokens))
    for _, value in ipairs { 5.5, 2 ^ 63, "5" } do
      support.raises("whole number", manager.update_run_progress, manager, other.run_id, { total_tokens = value })
    end
  end)

  it("refuses times that are none, naming the option", function()
    for name, values in pairs { lease_ttl = { 0, -1, 0 / 0, math.huge }, lease_grace = { -1, 0 / 0, math.huge },
      settle_timeout = { -0.5, 0 / 0, math.huge } } do
      for _, value in ipairs(values) do
        support.invalid(name, keel.run_manager { store = ":memory:", [name] = value })
      end
      support.raises(name, keel.run_manager, { [name] = "long" })
    end
    support.raises("record_refusals", keel.run_manager, { record_refusals = "yes" })
    support.raises("patience", keel.run_manager, { patience = 3 })
  end)

  it("raises for a store without the methods, naming one", function()
    support.raises({ "put", "begin", "get", "update_status" }, keel.run_manager, { store = {} })
  end)

  it("raises for a strategy or a reconciler that is no function, naming it", function()
    support.raises("again", keel.run_manager, { store = support.open ":memory:", reconcilers = { again = "yes" } })
    support.raises("my_own", keel.run_manager, { store = support.open ":memory:", strategies = { my_own = 42 } })
  end)
end)
