local lfs = require "lfs"
local files = require "support.files"
local process = require "support.process"
local support = require "support"

--- A child that opens the store, says its session, and lives until it is killed or told to go.
local OWNER = [[
  local store = assert(keel.open((...)))
  say(assert(store:session_id()))
  hear()
  store:close()
]]

local function owner(path, chunk)
  local child = support.spawn(chunk or OWNER, { path })
  return child, math.tointeger(child:hear())
end

--- The files that lie beside the database and are not SQLite's.
local function side_files(path)
  local directory, base = path:match "^(.*)/([^/]*)$"
  local found = {}
  for name in lfs.dir(directory) do
    local known = name == "." or name == ".." or name == base or name == base .. "-wal" or name == base .. "-shm"
    if not known then found[#found + 1] = directory .. "/" .. name end
  end
  return found
end

support.each_store(function(open)
  describe("A session", function()
    it("is an integer, the same as long as the handle is open, and alive", function()
      local store = open()
      local session = assert(store:session_id())
      assert.equal("integer", math.type(session))
      assert(store:put("r", { thread_id = "t" }))
      assert.equal(session, store:session_id())
      assert.is_true(store:session_alive(session))
    end)

    it("that never was is dead", function()
      local store = open()
      assert(store:put("r", { thread_id = "t" }))
      for _, id in ipairs { 0, -1, 999999, math.maxinteger } do assert.is_false(store:session_alive(id)) end
    end)

    it("is listed with owner, process, start and life", function()
      local clock = support.clock()
      local store = open { owner = "me", clock = clock.read, monotonic = clock.read }
      local session = assert(store:session_id())
      local found = assert(store:sessions())
      assert.equal(1, #found)
      assert.same({ session, "me", "2026-01-01T00:00:00+00:00", true },
        { found[1].session_id, found[1].owner, found[1].started_at, found[1].alive })
      assert.equal(process.pid(), found[1].pid)
    end)
  end)
end)

describe("Sessions of a file", function()
  after_each(support.clean_up)

  it("are told apart, and each knows that the other is alive", function()
    local path = support.path()
    local one, two = support.open(path), support.open(path)
    local a, b = assert(one:session_id()), assert(two:session_id())
    assert.not_equal(a, b)
    assert.is_true(one:session_alive(b))
    assert.is_true(two:session_alive(a))
    two:close()
    assert.is_false(one:session_alive(b))
    assert.is_true(one:session_alive(a))
  end)

  it("numbers are never used again", function()
    local path = support.path()
    local seen = {}
    for _ = 1, 5 do
      local store = support.open(path)
      local session = assert(store:session_id())
      assert.is_nil(seen[session])
      seen[session] = true
      store:close()
    end
  end)

  it("of a process killed with SIGKILL are dead at once", function()
    local path = support.path()
    local store = support.open(path)
    for _ = 1, 5 do
      local child, session = owner(path)
      assert.is_true(store:session_alive(session))
      child:kill()
      assert.is_false(store:session_alive(session))
    end
  end)

  it("are listed as what they are, the dead and the living", function()
    local path = support.path()
    local store = support.open(path)
    local mine = assert(store:session_id())
    local dying, dead = owner(path)
    local _, living = owner(path)
    dying:kill()
    local alive = {}
    for _, session in ipairs(assert(store:sessions())) do alive[session.session_id] = session.alive end
    assert.same({ true, true }, { alive[mine], alive[living] })
    assert.is_falsy(alive[dead])
  end)

  it("of a stopped process stay alive", function()
    local path = support.path()
    local store = support.open(path)
    local child, session = owner(path)
    child.handle:kill "sigstop"
    assert.is_true(store:session_alive(session))
    child.handle:kill "sigcont"
    child:say "go"
    child:finish()
    assert.is_false(store:session_alive(session))
  end)

  it("are not kept alive by children made by fork and exec", function()
    local path = support.path()
    local store = support.open(path)
    local child, session = owner(path, [[
      local store = assert(keel.open((...)))
      local session = assert(store:session_id())
      local pipe = io.popen "sleep 600 >/dev/null 2>&1 </dev/null & echo $!"
      local grandchild = pipe:read "l"
      pipe:close()
      say(session) say(grandchild)
      hear()
    ]])
    local grandchild = child:hear()
    child:kill()
    local alive = store:session_alive(session)
    assert.is_true(os.execute(("kill -0 %s 2>/dev/null"):format(grandchild)))
    os.execute(("kill -9 %s"):format(grandchild))
    assert.is_false(alive)
  end)

  it("of another process survive that this one opens, uses and closes the store", function()
    local path = support.path()
    local child, session = owner(path)
    for _ = 1, 3 do
      local store = support.open(path)
      assert(store:session_id())
      assert.is_true(store:session_alive(session))
      store:close()
    end
    local readonly = support.open(path, { readonly = true })
    assert.is_true(readonly:session_alive(session))
    child:kill()
    assert.is_false(readonly:session_alive(session))
  end)

  it("of one handle survive that another handle of the same process closes", function()
    local path = support.path()
    local kept, other = support.open(path), support.open(path)
    local session = assert(kept:session_id())
    assert(other:session_id())
    other:close()
    local child = support.spawn([[
      local path, session = ...
      say(tostring(assert(keel.open(path)):session_alive(math.tointeger(session))))
    ]], { path, session })
    child:expect "true"
    assert(kept:put("r", { thread_id = "t" }))
  end)

  it("side file, left behind by the dead, is harmless", function()
    local path = support.path()
    local child, session = owner(path)
    child:kill()
    assert.is_true(#side_files(path) > 0)
    local store = support.open(path)
    local mine = assert(store:session_id())
    assert.not_equal(session, mine)
    assert.is_true(store:session_alive(mine))
    assert.is_false(store:session_alive(session))
  end)

  it("side file with other content, beside no store at all, is harmless", function()
    local model, path = support.path(), support.path()
    support.open(model):session_id()
    for _, file in ipairs(side_files(model)) do files.write(path .. file:sub(#model + 1), "left by somebody") end
    local store = support.open(path)
    local mine = assert(store:session_id())
    assert.is_true(store:session_alive(mine))
    assert.is_false(store:session_alive(mine + 1))
  end)

  it("are not called dead because somebody removed the side file", function()
    local path = support.path()
    local child, session = owner(path)
    for _, file in ipairs(side_files(path)) do os.remove(file) end
    local store = support.open(path)
    assert(store:put("r", { thread_id = "t" }))
    assert.is_true(store:session_alive(session))
    child:say "go"
    child:finish()
  end)

  it("of the same file under another name are the same", function()
    local path = support.path()
    local store = support.open(path)
    local session = assert(store:session_id())
    local link = support.path()
    assert(os.execute(("ln -s %s %s"):format(path, link)))
    local child = support.spawn([[
      local path, session = ...
      say(tostring(assert(keel.open(path)):session_alive(math.tointeger(session))))
    ]], { link, session })
    child:expect "true"
  end)

  it("eight processes that create one store at once all succeed", function()
    local path, children = support.path(), {}
    for i = 1, 8 do
      children[i] = support.spawn([[
        local path, name = ...
        say "ready" hear()
        local store = assert(keel.open(path))
        assert(store:put("run-" .. name, { thread_id = "t" }))
        say(assert(store:session_id()))
        hear()
      ]], { path, i })
    end
    for _, child in ipairs(children) do child:expect "ready" end
    for _, child in ipairs(children) do child:say "go" end
    local sessions = {}
    for _, child in ipairs(children) do sessions[child:hear()] = true end
    local store = support.open(path)
    for session in pairs(sessions) do assert.is_true(store:session_alive(math.tointeger(session))) end
    assert.equal(8, #store:list_by_thread "t")
    assert.equal(8, #store:sessions())
    assert.same({}, store:verify())
  end)
end)
