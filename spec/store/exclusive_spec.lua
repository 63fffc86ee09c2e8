--- A store that one handle has to itself: who is refused, and for how long; what it leaves; what it saves.
local keel = require "keel"
local lfs = require "lfs"
local support = require "support"

--- A child that opens the store with `options`, a piece of Lua, and writes a run.
local function holder(path, options)
  local child = support.spawn(([[
    local store = assert(keel.open((...), %s))
    assert(store:put("r", { thread_id = "t" }))
    say "open"
    if hear() == "close" then
      store:close()
      say "closed"
      hear()
    end
  ]]):format(options), { path })
  child:expect "open"
  return child
end

describe("A store that is open with exclusive [#files]", function()
  local path
  before_each(function() path = support.path() end)
  after_each(support.clean_up)

  it("is busy for every other process, for reading too, and says why", function()
    holder(path, "{ exclusive = true }")
    for _, options in ipairs { {}, { readonly = true }, { exclusive = true } } do
      options.lock_timeout = 0.02
      local err = support.refused("busy", keel.open(path, options))
      assert.is_true(err.transient)
      assert.matches("exclusive = true", err.message, 1, true)
    end
  end)

  it("is busy for other handles of the process", function()
    local store = support.open(path, { exclusive = true })
    support.refused("busy", keel.open(path, { lock_timeout = 0 }))
    assert(store:put("r", { thread_id = "t" }))
    store:close()
    assert.equal("pending", support.open(path):get("r").status)
  end)

  it("is there for those who wait until it is closed", function()
    local child, told = holder(path, "{ exclusive = true }"), false
    local store = support.open(path, { sleep = function()
      if told then return end
      told = true
      child:say "close"
      child:expect "closed"
    end })
    assert.is_true(told)
    assert.equal("pending", assert(store:get "r").status)
  end)

  it("is refused beside a session, beside a handle that has written nothing, and beside a reader", function()
    assert(support.open(path):put("r", { thread_id = "t" }))
    support.clean_up()
    path = support.path()
    for _, chunk in ipairs { 'assert(store:put("r", { thread_id = "t" }))', "" } do
      local child = support.spawn("local store = assert(keel.open((...))) " .. chunk .. " say 'open' hear()", { path })
      child:expect "open"
      local err = support.refused("busy", keel.open(path, { exclusive = true, lock_timeout = 0.02 }))
      assert.is_true(err.transient)
      child:say "end"
      child:finish()
    end
    local reader = support.spawn("local store = assert(keel.open((...), { readonly = true })) say 'open' hear()",
      { path })
    reader:expect "open"
    support.refused("busy", keel.open(path, { exclusive = true, lock_timeout = 0.02 }))
    reader:say "end"
    reader:finish()
    assert.equal("pending", support.open(path, { exclusive = true }):get("r").status)
  end)

  it("is no store's for reading only, and means nothing in memory", function()
    support.invalid("exclusive", keel.open(path, { exclusive = true, readonly = true }))
    assert(support.open(":memory:", { exclusive = true }):put("r", { thread_id = "t" }))
    support.raises("exclusive", keel.open, path, { exclusive = 1 })
  end)

  it("opens after kill -9 with all that was acknowledged, and its session is dead", function()
    for _, durability in ipairs { "full", "normal", "off" } do
      local child = support.spawn([[
        local path, durability = ...
        local store = assert(keel.open(path, { exclusive = true, durability = durability }))
        local manager = keel.run_manager { store = store }
        say(store:session_id())
        for i = 1, 300 do
          local run = assert(manager:create_or_reject("t" .. i))
          assert(manager:try_start(run.run_id) == "started")
          say(run.run_id)
        end
      ]], { path, durability })
      local session = math.tointeger(child:hear())
      local last
      for _ = 1, 50 do last = child:hear() end
      child:kill()
      for _, options in ipairs { { exclusive = true }, {} } do
        local store = support.open(path, options)
        assert.same({}, store:verify())
        assert.equal("running", assert(store:get(last)).status)
        assert.is_false(store:session_alive(session))
        store:close()
      end
      local recovered = keel.run_manager { store = support.open(path) }:reconcile_orphaned_inflight_runs {}
      assert.is_true(#recovered >= 50)
      support.clean_up()
      path = support.path()
    end
  end)

  it("leaves no log behind, and can be backed up and made compact", function()
    local store = support.open(path, { exclusive = true })
    assert(store:put("r", { thread_id = "t" }))
    assert.is_nil(lfs.attributes(path .. "-shm"))
    assert(store:backup(path .. ".copy"))
    assert(store:compact())
    support.refused("busy", keel.restore(path .. ".copy", path))
    store:close()
    assert.is_nil(lfs.attributes(path .. "-wal"))
    assert.equal("pending", support.open(path .. ".copy"):get("r").status)
  end)

  it("wakes those who wait on the handle itself", function()
    local store = support.open(path, { exclusive = true })
    assert(store:put("r", { thread_id = "t" }))
    local cursor = store:read_events().cursor
    assert.is_falsy(store:wait_events(cursor, { timeout = 0 }))
    assert(store:put("s", { thread_id = "t" }))
    assert.is_truthy(store:wait_events(cursor, { timeout = 0 }))
  end)

  it("asks nobody for a lock when it writes", function()
    if not os.execute "strace -f -o /dev/null true 2>/dev/null" then
      return pending "strace is not here, or may not trace"
    end
    local function locks(options)
      local trace = support.dir() .. "/trace"
      support.spawn(([[
        local store = assert(keel.open((...), %s))
        assert(store:put("r", { thread_id = "t" }))
        io.stderr:write "MARK-begin\n"
        for i = 1, 10 do assert(store:put("r" .. i, { thread_id = "t" })) end
        io.stderr:write "MARK-end\n"
      ]]):format(options), { support.path() },
        { prefix = { "strace", "-o", trace, "-e", "trace=fcntl,write" } }):finish()
      local count, inside = 0, false
      for line in io.lines(trace) do
        if line:find("MARK-", 1, true) then inside = line:find("begin", 1, true) ~= nil end
        if inside and line:find "^fcntl" then count = count + 1 end
      end
      return count
    end
    assert.is_true(locks "{ durability = 'off' }" >= 60) -- so much for counting
    assert.equal(0, locks "{ durability = 'off', exclusive = true }")
  end)
end)
