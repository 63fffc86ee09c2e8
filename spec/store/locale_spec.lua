local keel = require "keel"
local lfs = require "lfs"
local process = require "support.process"
local support = require "support"

describe("In a host with a decimal comma", function()
  local folder, can_make

  -- de_DE.UTF-8 has one; it need not be installed.
  lazy_setup(function()
    folder = ("%s/keel-locale-%d"):format(os.getenv "TMPDIR" or "/tmp", process.pid())
    assert(lfs.mkdir(folder))
    os.execute(("localedef -i de_DE -f UTF-8 %s/de_DE.UTF-8 >%s/log 2>&1"):format(folder, folder))
    can_make = lfs.attributes(folder .. "/de_DE.UTF-8", "mode") == "directory"
  end)
  lazy_teardown(function() os.execute("rm -r " .. folder) end)
  after_each(support.clean_up)

  -- Runs a chunk in a process of that locale, which says a line when it is done.
  local function in_german(chunk, ...)
    if not can_make then return pending "localedef cannot make de_DE.UTF-8 here" end
    local child = support.spawn([[
      assert(os.setlocale "de_DE.UTF-8", "the locale is not there")
      assert(("%.1f"):format(0.5) == "0,5", "the locale has no comma")
    ]] .. chunk .. " say 'done'", { ... }, { env = { LOCPATH = folder } })
    child:expect "done"
    child:finish()
    return true
  end

  it("F-5: everybody can read the event of a run that was given back with a delay", function()
    local path = support.path()
    if not in_german([[
      local runs = keel.run_manager { store = assert(keel.open(...)) }
      local run = assert(runs:create_or_reject "t")
      assert(runs:try_start(run.run_id))
      assert(runs:requeue(run.run_id, { delay = 1.25 }))
    ]], path) then return end
    local store = support.open(path)
    local events = assert(store:read_events()).events
    assert.equal("run_requeued", events[#events].kind)
    assert.equal(1.25, events[#events].data.delay)
    assert.same({}, store:verify())
  end)

  it("F-5: numbers in documents survive", function()
    local path = support.path()
    if not in_german([[
      local store = assert(keel.open(...))
      local numbers = { 0.5, -1.25e-7, 1e300, 3.0, 123456789.125 }
      assert(store:put("r", { thread_id = "t", metadata = { numbers = keel.array(numbers) } }))
      assert(store:append_event { kind = "k", data = { half = 0.5 } })
      local got = assert(store:get "r").metadata.numbers
      for i, number in ipairs(numbers) do assert(got[i] == number) end
      assert(keel.json.encode { 0.5 } == "[0.5]")
      assert(keel.json.decode "[0.5]"[1] == 0.5)
      assert(not keel.json.decode "[0,5]"[3] and #keel.json.decode "[0,5]" == 2)
    ]], path) then return end
    local store = support.open(path)
    assert.same(keel.array { 0.5, -1.25e-7, 1e300, 3.0, 123456789.125 }, assert(store:get "r").metadata.numbers)
  end)

  it("F-5: a script decides as anywhere", function()
    local path = support.dir() .. "/policy.lua"
    local file <close> = assert(io.open(path, "w"))
    file:write [[return function()
      local half = tonumber "0.5"
      return { admit = false, reason = tostring(half) .. (" %.2f "):format(half) .. half .. " "
        .. tostring(tonumber "0,5") }
    end]]
    file:close()
    in_german([[
      local runs = keel.run_manager { store = assert(keel.open ":memory:") }
      local policy = assert(keel.load_policy(...))
      local _, err = runs:create_or_reject("t", { multitask_strategy = policy })
      assert(err.reason == "0.5 0.50 0.5 nil", err.reason)
      assert(("%.1f"):format(0.5) == "0,5", "the host has lost its locale")
    ]], path)
  end)

  it("F-5: a budget, a wrong number and a child's words are written with a point", function()
    local path = support.path()
    in_german([[
      local store = assert(keel.open(...))
      local runs = keel.run_manager { store = store, policy_budget = { seconds = 0.05 } }
      local _, err = runs:create_or_reject("t", { multitask_strategy = function() while true do end end,
        strategy_options = {} })
      assert(err.code == "policy_budget" and not err.message:find ",%d", err.message)
      local fine, message = pcall(store.list_by_thread, store, "t", { limit = 1.5 })
      assert(not fine and message:find("1.5", 1, true), message)
      fine, message = pcall(store.put, store, "r", { thread_id = "t", priority = 1.5 })
      assert(not fine and message:find("1.5", 1, true), message)
      local words
      local executor = keel.executor { manager = keel.run_manager { store = store }, handlers = function(context)
        local child = assert(context.spawn { "/bin/sh", "-c", 'echo "$1 $HALF"', "sh", 0.5, env = { HALF = 0.25 } })
        words = assert(child:wait()).output
      end }
      keel.run_manager { store = store }:create("u", { claimable = true })
      executor:drain()
      assert(words == "0.5 0.25\n", words)
    ]], path)
  end)
end)
