local keel = require "keel"
local support = require "support"

describe("An error", function()
  after_each(support.clean_up)

  local function conflict()
    local manager = support.manager(support.open ":memory:")
    local run = assert(manager:create_or_reject "t")
    return support.refused("conflict", manager:create_or_reject "t"), run
  end

  it("comes behind nil with a code, a message and whether to try again", function()
    local err = conflict()
    assert.equal("conflict", err.code)
    assert.is_string(err.message)
    assert.is_false(err.transient and true or false)
  end)

  it("reads 'code: message', so that assert reads well", function()
    local err = conflict()
    assert.equal(err.code .. ": " .. err.message, tostring(err))
    local ok, raised = pcall(assert, nil, err)
    assert.is_false(ok)
    assert.equal(tostring(err), tostring(raised))
  end)

  it("reads so too when a store of the program's own made it as a plain table", function()
    local store = support.open ":memory:"
    local full = { code = "store_full", message = "no room", disk = 2 }
    local wrapped = support.wrap(store, { put = support.fail(1, full) })
    local err = support.refused("store_full", support.manager(wrapped):create "t")
    assert.equal("store_full: no room", tostring(err))
    assert.is_false(err.transient)
    assert.equal(2, err.disk)
  end)

  it("names the method that a store of the program's own lacks", function()
    local manager = keel.run_manager { store = { put = function() return true end, get = function() end } }
    local err = support.refused("io", manager:create_or_reject "t")
    assert.equal("the store has no method 'begin'", err.message)
  end)

  it("carries the fields named with its code: conflict", function()
    local err, run = conflict()
    assert.equal("t", err.thread_id)
    assert.equal(run.run_id, err.run_id)
  end)

  it("carries the fields named with its code: invalid_request", function()
    local store = support.open ":memory:"
    assert.equal("thread_id", support.refused("invalid_request", store:put("r", { thread_id = "" })).field)
  end)

  it("carries the fields named with its code: invalid_transition", function()
    local store = support.open ":memory:"
    assert(store:put("r", { thread_id = "t", status = "success" }))
    local err = support.refused("invalid_transition", store:update_status("r", "running"))
    assert.equal("success", err.from)
    assert.equal("running", err.to)
  end)

  it("carries the fields named with its code: limit_too_large", function()
    local store = support.open ":memory:"
    local err = support.refused("limit_too_large", store:list_by_thread("t", { limit = 1001 }))
    assert.equal(1001, err.requested)
    assert.equal(1000, err.max)
  end)

  it("carries the fields named with its code: unsupported_strategy", function()
    local manager = support.manager(support.open ":memory:")
    local err = support.refused("unsupported_strategy",
      manager:create_or_reject("t", { multitask_strategy = "no_such" }))
    for _, name in ipairs { "interrupt", "reject", "reuse", "rollback" } do
      assert.truthy(table.concat(err.known, " "):find(name, 1, true), name)
    end
  end)

  it("of the store has the same shape as one of a manager", function()
    local store = support.open ":memory:"
    local mine = support.refused("invalid_request", store:put("", { thread_id = "t" }))
    local managers = support.refused("invalid_request", support.manager(store):create "")
    for _, err in ipairs { mine, managers } do
      assert.equal("invalid_request: " .. err.message, tostring(err))
    end
  end)

  it("refuses a name that goes on behind a zero byte", function()
    support.invalid("durability", keel.open(":memory:", { durability = "full\0x" }))
    local store = support.open ":memory:"
    local before = store:now()
    support.invalid("statuses", store:prune { before = before, statuses = { "stopped\0x" } })
    local ref = { runtime_id = "rt", worker_id = "w" }
    support.invalid("status", store:end_worker("rt", ref, "stopped\0x"))
    local epoch = assert(store:read_events()).cursor.epoch
    support.refused("wrong_runtime", store:read_events { next_event_id = 1, epoch = epoch .. "\0x" })
    support.raises("unknown option", store.read_events, store, nil, 1, { ["run_id\0x"] = "r" })
  end)

  it("says busy, transient, while the handle's own transaction is open", function()
    local store = support.open ":memory:"
    local tx <close> = assert(store:begin())
    local err = support.refused("busy", store:put("r", { thread_id = "t" }))
    assert.is_true(err.transient)
    assert(tx:rollback() ~= false)
  end)
end)

describe("Misuse raises and names", function()
  after_each(support.clean_up)

  it("an unknown option of keel.open", function()
    support.raises("durabilty", keel.open, ":memory:", { durabilty = "full" })
  end)

  it("an option of keel.open with a wrong type", function()
    support.raises("lock_timeout", keel.open, ":memory:", { lock_timeout = "soon" })
    support.raises("readonly", keel.open, ":memory:", { readonly = "yes" })
    support.raises("clock", keel.open, ":memory:", { clock = 7 })
    support.raises("sleep", keel.open, ":memory:", { sleep = 7 })
    support.raises("log", keel.open, ":memory:", { log = "stderr" })
  end)

  it("a uri or options that are none", function()
    support.raises({ "uri", "#1" }, keel.open, nil)
    support.raises({ "uri", "#1" }, keel.open, {})
    support.raises({ "options", "#2" }, keel.open, ":memory:", "readonly")
  end)

  it("arguments of a store's methods", function()
    local store = support.open ":memory:"
    support.raises({ "run_id", "#1" }, store.put, store, nil, { thread_id = "t" })
    support.raises({ "fields", "#2" }, store.put, store, "r", 42)
    support.raises({ "run_id", "#1" }, store.get, store, {})
    support.raises({ "status", "#2" }, store.update_status, store, "r", false)
    support.raises({ "thread_id", "#1" }, store.list_by_thread, store, nil)
  end)

  it("unknown options of a store's methods", function()
    local store = support.open ":memory:"
    assert(store:put("r", { thread_id = "t" }))
    local ref = { runtime_id = "rt", worker_id = "w" }
    -- The methods that take options, and what they take in front of them.
    local methods = { get = { "r" }, update_status = { "r", "running" }, list_by_thread = { "t" }, list_inflight = {},
      list_runs = {}, list_dispatched = {}, find_by_key = { "k" }, claim_next = {}, requeue = { "r" }, settle = { "r" },
      claim_for_takeover = { "r" }, request_cancel = { "r" }, open_runtime = { "rt" }, list_runtimes = {},
      record_diagnostic = { "rt" }, list_diagnostics = { "rt" }, create_worker = { "rt" }, list_workers = { "rt" },
      send_worker_input = { "rt", ref }, read_transcript = { "rt", ref }, append_event = {}, read_events = { false, 1 },
      wait_events = { false }, prune_step = {}, begin = {}, acquire_lease = { "l" },
      aggregate_tokens_by_thread = { "t" } }
    for name, given in pairs(methods) do
      local arguments = { n = #given + 1, table.unpack(given) }
      if arguments[1] == false then arguments[1] = nil end -- a cursor
      arguments[arguments.n] = { nonsense = 1 }
      local ok, message = pcall(store[name], store, table.unpack(arguments, 1, arguments.n))
      assert.is_false(ok, name)
      assert.matches("nonsense", message, 1, true)
      assert.matches(("#%d"):format(arguments.n + 1), message, 1, true)
    end
    assert.equal("pending", assert(store:get "r").status)
  end)

  it("an unknown field of a row, and one with a wrong type", function()
    local store = support.open ":memory:"
    support.raises("colour", store.put, store, "r", { thread_id = "t", colour = "red" })
    support.raises("priority", store.put, store, "r", { thread_id = "t", priority = "high" })
    support.raises("thread_id", store.put, store, "r", { thread_id = 42 })
    assert.is_nil(store:get "r")
  end)

  it("an unknown option of a manager", function()
    support.raises("stroe", keel.run_manager, { stroe = support.open ":memory:" })
  end)

  it("an unknown option of create and of guarded create", function()
    local manager = support.manager(support.open ":memory:")
    for _, method in ipairs { "create", "create_or_reject" } do
      support.raises("stratgy", manager[method], manager, "t", { stratgy = "reject" })
      support.raises("on_disconnect", manager[method], manager, "t", { on_disconnect = 42 })
      support.raises({ "thread_id", "#1" }, manager[method], manager)
    end
    assert.same({}, manager:list_by_thread "t")
  end)

  it("a number that is not whole, or a text of digits, where a whole number belongs", function()
    local store = support.open ":memory:"
    local manager = support.manager(store)
    support.raises("'priority' must be a whole number, got 1.5", manager.create, manager, "t", { priority = 1.5 })
    support.raises("'priority' must be a whole number, got string", manager.create, manager, "t", { priority = "1" })
    support.raises("'priority' must be a whole number, got 1.5", store.put, store, "r", { priority = 1.5 })
    support.raises("'limit' must be a whole number, got 1.5", store.list_by_thread, store, "t", { limit = 1.5 })
    support.raises("session_id: number expected, got string", store.session_alive, store, "1")
    support.raises("limit: number expected, got string", store.read_events, store, nil, "1")
    support.raises("limit: whole number expected, got 1.5", store.read_events, store, nil, 1.5)
    support.raises("mark: number expected, got string", store.transaction, store, function(tx)
      tx:savepoint()
      return tx:release "1"
    end)
  end)

  it("nothing for a whole number that is a float", function()
    local store = support.open ":memory:"
    local manager = support.manager(store)
    local run = assert(manager:create("t", { priority = 6 / 2 }))
    assert.equal("integer", math.type(run.priority))
    assert.equal(3, assert(store:get(run.run_id)).priority)
    assert.equal(1, #manager:list_by_thread("t", { limit = 2 / 2 }))
    assert.equal(1, #assert(store:read_events(nil, 2 / 2)).events)
  end)

  it("the line that did it", function()
    local store = support.open ":memory:"
    local manager = support.manager(store)
    local policy = keel.retry_policy()
    for what, misuse in pairs {
      open = function() return (keel.open(":memory:", { colour = 1 })) end,
      run_manager = function() return (keel.run_manager { colour = 1 }) end,
      policy_budget = function() return (keel.run_manager { policy_budget = { colour = 1 } }) end,
      create = function() return (manager:create("t", { colour = 1 })) end,
      create_or_reject = function() return (manager:create_or_reject("t", { colour = 1 })) end,
      dry_run = function() return (manager:dry_run("t", { colour = 1 })) end,
      list_by_thread = function() return (manager:list_by_thread("t", { colour = 1 })) end,
      put = function() return (store:put("r", { colour = 1 })) end,
      delay = function() return (policy:delay(1, "colour")) end,
    } do
      local ok, message = pcall(misuse)
      assert.is_false(ok, what)
      local line = debug.getinfo(misuse, "S").linedefined
      assert.truthy(message:find(("errors_spec.lua:%d: bad argument"):format(line), 1, true), what .. ": " .. message)
    end
  end)

  it("a method called on something else", function()
    local store = support.open ":memory:"
    assert.is_false(pcall(store.get, io.stdout, "r"))
    assert.is_false(pcall(store.get, {}, "r"))
    assert.is_false(pcall(store.close, nil))
  end)
end)
