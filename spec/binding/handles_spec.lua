local keel = require "keel"
local support = require "support"

local function collect()
  collectgarbage()
  collectgarbage()
end

describe("A store handle", function()
  after_each(support.clean_up)

  it("says what it is, and whether it is open", function()
    local store = support.open ":memory:"
    assert.matches("^keel%.store", tostring(store))
    assert.not_matches("closed", tostring(store))
    store:close()
    assert.matches("closed", tostring(store))
  end)

  it("closes twice without complaint", function()
    local store = support.open ":memory:"
    store:close()
    assert.has_no.errors(function() store:close() end)
  end)

  it("raises, saying closed, for every call after close", function()
    local store = support.open ":memory:"
    store:close()
    for _, call in ipairs {
      { "put", "r", { thread_id = "t" } }, { "get", "r" }, { "delete", "r" }, { "update_status", "r", "running" },
      { "update_run_completion", "r", { status = "success" } }, { "update_run_progress", "r", { total_tokens = 1 } },
      { "list_by_thread", "t" }, { "list_inflight", {} }, { "claim_for_takeover", "r", {} }, { "begin" },
      { "transaction", print }, { "session_id" }, { "session_alive", 1 }, { "sessions" }, { "verify" },
      { "append_event", { kind = "note" } }, { "read_events" }, { "wait_events" },
    } do
      support.raises("closed", store[call[1]], store, table.unpack(call, 2))
    end
  end)

  it("runs no metamethod of its arguments in the middle of an operation", function()
    local store = support.open ":memory:"
    assert(store:open_runtime "rt")
    local function nasty() return setmetatable({}, { __index = function() store:close() end }) end
    assert.equal(1, #assert(store:read_events(nil, 5, nasty())).events)
    support.raises("kind", store.append_event, store, nasty())
    support.raises("worker_ref", store.get_worker, store, "rt", nasty())
    support.invalid("cursor", store:read_events(nasty()))
    local runtime = assert(keel.runtime { store = store, runtime_id = "rt" })
    local worker = assert(runtime:create_worker())
    local defaults = { __index = { kind = "user" } }
    assert(runtime:send_input(worker, setmetatable({ content = "hi" }, defaults)))
    support.raises("kynd", runtime.send_input, runtime, worker, setmetatable({ kynd = "user" }, defaults))
  end)

  it("may be closed by a finalizer that the collector calls in the middle of an operation", function()
    for round = 1, 40 do
      local store = support.open ":memory:"
      for _ = 1, 30 do assert(store:append_event { kind = "k", data = { 1, 2, 3 } }) end
      local closed = false
      for _ = 1, round do local _ = {} end -- so that the collector comes to it at another place each time
      setmetatable({}, { __gc = function()
        store:close()
        closed = true
      end })
      while not closed do
        pcall(store.read_events, store, nil, 100, { kinds = { "k" } })
        pcall(store.append_event, store, { kind = "k", data = { a = { b = {} } } })
      end
      support.raises("closed", store.read_events, store)
      assert.matches("closed", tostring(store))
    end
  end)

  it("is released when its scope is left, and when an error leaves it", function()
    local path = support.path()
    local witness = support.open(path)
    local session
    assert.is_false(pcall(function()
      local store <close> = assert(keel.open(path))
      session = assert(store:session_id())
      assert.is_true(witness:session_alive(session))
      error "on the way"
    end))
    assert.is_false(witness:session_alive(session))
  end)

  it("is released by close", function()
    local path = support.path()
    local witness, store = support.open(path), support.open(path)
    local session = assert(store:session_id())
    store:close()
    assert.is_false(witness:session_alive(session))
  end)

  it("is released by the garbage collector", function()
    local path = support.path()
    local witness = support.open(path)
    local session = (function() return assert(assert(keel.open(path)):session_id()) end)()
    collect()
    assert.is_false(witness:session_alive(session))
  end)

  it("stays open as long as a manager or a transaction needs it", function()
    local manager = (function() return support.manager(assert(keel.open ":memory:")) end)()
    collect()
    assert(manager:create "t")
    local tx = (function() return assert(assert(keel.open ":memory:"):begin()) end)()
    collect()
    assert(tx:put("r", { thread_id = "t" }))
    assert(tx:commit())
  end)

  it("rolls back what is open when it is closed", function()
    local path = support.path()
    local store = support.open(path)
    local tx = assert(store:begin())
    assert(tx:put("r", { thread_id = "t" }))
    store:close()
    support.raises("", tx.put, tx, "s", { thread_id = "t" })
    assert.is_nil(support.open(path):get "r")
  end)

  it("does not keep the world alive in a cycle with its own log function", function()
    local path = support.path()
    local witness = support.open(path)
    local session = (function()
      local holder = {}
      holder.store = assert(keel.open(path, { log = function() return holder end }))
      return assert(holder.store:session_id())
    end)()
    collect()
    collect()
    assert.is_false(witness:session_alive(session))
  end)
end)

describe("A transaction handle", function()
  after_each(support.clean_up)

  it("says what it is, and whether it is open", function()
    local store = support.open ":memory:"
    local tx = assert(store:begin())
    assert.matches("^keel%.", tostring(tx))
    local open = tostring(tx)
    assert(tx:commit())
    assert.not_equal(open:gsub("0x%x+", ""), (tostring(tx):gsub("0x%x+", "")))
  end)

  it("raises for every call after commit or rollback", function()
    local store = support.open ":memory:"
    for _, ending in ipairs { "commit", "rollback" } do
      local tx = assert(store:begin())
      tx[ending](tx)
      assert.is_false(pcall(tx.put, tx, "r", { thread_id = "t" }))
      assert.is_false(pcall(tx.get, tx, "r"))
      assert.is_false(pcall(tx.commit, tx))
    end
    assert.is_nil(store:get "r")
  end)

  it("that is forgotten is rolled back by the garbage collector", function()
    local store = support.open ":memory:"
    do
      local tx = assert(store:begin())
      assert(tx:put("r", { thread_id = "t" }))
    end
    collect()
    assert.is_nil(store:get "r")
    assert(store:put("s", { thread_id = "t" }))
  end)
end)
