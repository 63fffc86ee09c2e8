local keel = require "keel"
local support = require "support"

local function unload()
  for name in pairs(package.loaded) do
    if name == "keel" or name:find "^keel%." then package.loaded[name] = nil end
  end
end

describe("The module", function()
  after_each(support.clean_up)

  it("sets no globals, neither when it is loaded nor when it works", function()
    local child = support.spawn [[
      local known = {}
      for name in pairs(_G) do known[name] = true end
      local store = assert(keel.open(":memory:"))
      local manager = keel.run_manager { store = store }
      local run = assert(manager:create_or_reject("t", { multitask_strategy = "interrupt" }))
      assert(manager:set_status(run.run_id, "running"))
      assert(manager:cancel(run.run_id))
      manager:reconcile_orphaned_inflight_runs {}
      for name in pairs(_G) do if not known[name] then say(name) end end
      say "done"
    ]]
    child:expect "done"
    child:finish()
  end)

  it("adds nothing to the globals of a plain Lua when it is required", function()
    local child = support.spawn([[
      local before = {}
      for name in io.popen("lua5.4 -e 'for name in pairs(_G) do print(name) end'"):lines() do before[name] = true end
      for name in pairs(_G) do if not before[name] then say(name) end end
      say "done"
    ]])
    child:expect "done"
    child:finish()
  end)

  it("changes no metatable of the basic types", function()
    local child = support.spawn [[
      for _, value in ipairs { 1, true, print, coroutine.create(print) } do
        say(tostring(debug.getmetatable(value)))
      end
      say(tostring(debug.getmetatable(nil)))
    ]]
    for _ = 1, 5 do child:expect "nil" end
    child:finish()
  end)

  it("prints nothing", function()
    local child = support.spawn [[
      keel.open("/nowhere/at/all/keel.db")
      local manager = keel.run_manager { store = ":memory:" }
      manager:create("")
      assert(manager:create("t"))
      pcall(keel.open, 42)
    ]]
    assert.equal("", child:finish())
    assert.equal("", child.errors)
  end)

  it("loads twice, and handles of the first loading go on working beside those of the second", function()
    local old = support.open ":memory:"
    local old_manager = support.manager(old)
    unload()
    local again = require "keel"
    local new = assert(again.open ":memory:")
    assert(new:put("r", { thread_id = "t" }))
    assert(old:put("r", { thread_id = "t" }))
    assert(old_manager:create "t")
    assert.equal("pending", assert(again.run_manager { store = old }:get "r").status)
    new:close()
  end)

  it("loaded twice still knows its null and its marked arrays", function()
    local null, array = keel.null, keel.array {}
    unload()
    local again = require "keel"
    assert.equal('{"a":null,"b":[]}', (again.json.encode { a = null, b = array }
      :gsub('^{"b":%[%],"a":null}$', '{"a":null,"b":[]}')))
  end)

  it("works in a state where the collector runs at every step", function()
    local child = support.spawn [[
      collectgarbage("generational") collectgarbage("incremental", 0, 1000)
      local hook = function() collectgarbage() end
      debug.sethook(hook, "", 50)
      local store <close> = assert(keel.open(":memory:"))
      local manager = keel.run_manager { store = store }
      for i = 1, 5 do
        local run = assert(manager:create_or_reject("t", { multitask_strategy = "interrupt", metadata = { i = i } }))
        assert(manager:set_status(run.run_id, "running"))
      end
      debug.sethook()
      say(#manager:list_by_thread("t"), #store:verify())
    ]]
    child:expect "5\t0"
    child:finish()
  end)
end)
