--- What a first program does wrong is said at once, where it was done, with the name that was meant.
local keel = require "keel"
local policies = require "keel.policy"
local support = require "support"

local missing = "/no/such/folder/runs.db"

-- The message that fn raises, which has the place of fn in front.
local function raised_here(fn)
  local ok, message = pcall(fn)
  assert.is_false(ok)
  local line = debug.getinfo(fn, "S").linedefined
  assert.truthy(message:find(("first_mistakes_spec.lua:%d: "):format(line), 1, true), message)
  return message
end

describe("Without a store", function()
  after_each(support.clean_up)

  for _, name in ipairs { "run_manager", "dispatcher", "runtime" } do
    it("F-35: a " .. name .. " raises, also when opening failed, and says how to ask for memory", function()
      for _, make in ipairs {
        function() return (keel[name]()) end,
        function() return (keel[name] {}) end,
        function() return (keel[name] { store = keel.open(missing) }) end,
      } do
        local message = raised_here(make)
        assert.truthy(message:find("bad argument #1 to '" .. name .. "' (option 'store' is missing", 1, true), message)
        assert.truthy(message:find('":memory:"', 1, true), message)
      end
    end)

    it("F-35: a " .. name .. " opens a uri in its place, and gives the error of opening", function()
      local err = support.refused("store_missing", keel[name] { store = missing })
      assert.truthy(err.message:find(missing, 1, true))
      assert.truthy(keel[name] { store = ":memory:" })
    end)
  end

  it("F-35: what a manager wrote to a uri is in the file", function()
    local path = support.path()
    local run = assert(keel.run_manager { store = path }:create "t")
    assert.equal("pending", assert(support.open(path):get(run.run_id)).status)
  end)
end)

describe("keel.assert", function()
  it("F-36: raises a text with the caller's place, where assert raises a table", function()
    local message = raised_here(function() keel.assert(keel.open(missing)) end)
    assert.matches("first_mistakes_spec.lua:%d+: store_missing: ", message)
    assert.equal("string", type(message))
    assert.matches("assertion failed!", raised_here(function() keel.assert(false) end))
    assert.matches("reason", raised_here(function() keel.assert(nil, "reason") end))
  end)

  it("F-36: gives back what it was given", function()
    assert.same({ n = 4, 1, nil, 3, false }, table.pack(keel.assert(1, nil, 3, false)))
  end)
end)

describe("Built-in policies", function()
  it("F-39: are loaded with keel: nothing is looked for later", function()
    local child = support.spawn [[
      local keel = require "keel"
      local policies = require "keel.policy"
      package.path, package.cpath, package.searchers = "", "", {}
      io.open = function() error "nothing is there any more" end
      for _, kind in ipairs { "strategies", "reconcilers", "diagnostics" } do
        for _, name in ipairs(policies.built_in(kind)) do assert(policies.find(kind, name).call, name) end
      end
      local runs = keel.run_manager { store = ":memory:" }
      for _, name in ipairs(policies.built_in "strategies") do
        local run, err = runs:create_or_reject("t-" .. name, { multitask_strategy = name, strategy_options =
          name == "debounce" and { wait = 1 } or name == "limit" and { max = 1 } or nil })
        assert(run, name .. tostring(err))
      end
      say(select(2, pcall(keel.executor, { manager = runs, handlers = {} })):match "keel.executor needs luv")
    ]]
    child:expect "keel.executor needs luv"
  end)

  it("F-39: keep the hash of their source as their version", function()
    local path = package.searchpath("keel.strategies.reject", package.path)
    local source = require("support.files").read(path)
    assert.equal(require("keel.kernel").sha256(source):sub(1, 16), policies.find("strategies", "reject").version)
  end)
end)

describe("A misspelt name", function()
  after_each(support.clean_up)

  it("F-41: names the nearest known one, in Lua and in C", function()
    local store = support.open ":memory:"
    local runs = support.manager(store)
    for meant, misuse in pairs {
      multitask_strategy = function() return (runs:create("t", { multitask_stratgy = "reject" })) end,
      store = function() return (keel.run_manager { stroe = store }) end,
      lock_timeout = function() return (keel.open(":memory:", { locktimeout = 1 })) end,
      priority = function() return (store:put("r", { thread_id = "t", priorty = 1 })) end,
      user_id = function() return (store:get("r", { userid = "u" })) end,
      max_attempts = function() return (keel.retry_policy { attempts_max = 1, max_atempts = 1 }) end,
      display_name = function() return (keel.runtime { store = store, displayname = "x" }) end,
    } do
      local message = raised_here(misuse)
      local suggests = message:find(("; did you mean '%s'?"):format(meant), 1, true)
      assert.truthy(suggests or message:find("attempts_max", 1, true), message)
    end
  end)

  it("F-41: suggests nothing where nothing is near", function()
    local message = raised_here(function() return (keel.open(":memory:", { [("x"):rep(5000)] = 1 })) end)
    assert.is_nil(message:find("did you mean", 1, true))
    assert.is_nil(raised_here(function() return (keel.run_manager { colour = 1 }) end):find("mean", 1, true))
    assert.is_nil(raised_here(function() return (keel.run_manager { [1] = 1 }) end):find("mean", 1, true))
  end)
end)

describe("A wrong argument", function()
  after_each(support.clean_up)

  it("is told by its number", function()
    local dispatcher = keel.dispatcher { store = support.open ":memory:" }
    support.raises("#1 to 'get'", dispatcher.get, dispatcher, 5)
    local runtime = assert(keel.runtime { store = support.open ":memory:" })
    support.raises("#1 to 'transcript_projection'", runtime.transcript_projection, runtime, 5)
    support.raises("#2 to 'transcript_projection'", runtime.transcript_projection, runtime,
      { runtime_id = "default", worker_id = "w" }, 5)
    local box = assert(require("keel.kernel").sandbox("return 1", "script"))
    for argument, given in ipairs { { 0, 1, 1 }, { 1, 0, 1 }, { 1, 1, 0 } } do
      support.raises(("#%d"):format(argument + 1), box.call, box, table.unpack(given))
    end
  end)
end)

describe("A method that is called with a dot", function()
  after_each(support.clean_up)

  it("F-41: says so, at the caller's line", function()
    local store = support.open ":memory:"
    local runs = support.manager(store)
    local runtime = assert(keel.runtime { store = store })
    local dispatcher = keel.dispatcher { store = store }
    local lease = assert(store:lease("n", { ttl = 1 }))
    local policy = keel.retry_policy()
    for _, misuse in ipairs {
      function() return (runs.create "t") end,
      function() return (runs.create("t", { priority = 1 })) end,
      function() return (runs.heartbeat()) end,
      function() return (runs.tick { limit = 1 }) end,
      function() return (runtime.summary()) end,
      function() return (dispatcher.get "id") end,
      function() return (lease.renew(1)) end,
      function() return (policy.delay(1)) end,
      function() return (store.get "r") end,
      function() return (store.close()) end,
      function() return (store.prune { keep_last = 1 }) end,
      function() return (store.transaction(print)) end,
      function() return (store:transaction(function(tx) return tx.get "r" end)) end,
      function() return (store:event_waiter().look()) end,
    } do
      assert.truthy(raised_here(misuse):find("call methods with a colon", 1, true))
    end
  end)
end)

describe("A store that was closed", function()
  after_each(support.clean_up)

  it("F-41: says where, to who uses it, and to a manager's caller as an error with the code closed", function()
    local store = support.open ":memory:"
    local runs = support.manager(store)
    local run = assert(runs:create "t")
    local runtime = assert(keel.runtime { store = store })
    local tx = assert(store:begin())
    local function close() store:close() end
    close()
    local place = ("first_mistakes_spec.lua:%d"):format(debug.getinfo(close, "S").linedefined)
    local closed = "the store is closed: it was closed at "
    for _, use in ipairs { function() return (store:get "r") end, function() return (store:now()) end } do
      local message = raised_here(use)
      assert.truthy(message:find(closed, 1, true) and message:find(place, 1, true), message)
    end
    assert.truthy(raised_here(function() return (tx:get "r") end):find(place, 1, true))
    for _, err in ipairs {
      support.refused("closed", runs:create "t"),
      support.refused("closed", runs:create_or_reject "t"),
      support.refused("closed", runs:set_status(run.run_id, "running")),
      support.refused("closed", runtime:summary()),
      support.refused("closed", keel.dispatcher { store = store }:list()),
    } do
      assert.truthy(err.message:find(place, 1, true), err.message)
      assert.is_false(err.transient)
    end
  end)

  it("F-41: says so of a scope that was left, and without a place of a collected one", function()
    local store
    do
      local scoped <close> = assert(keel.open ":memory:")
      store = scoped
    end
    assert.matches("it was closed at .*first_mistakes_spec.lua:%d+", raised_here(function() return (store:now()) end))
  end)
end)
