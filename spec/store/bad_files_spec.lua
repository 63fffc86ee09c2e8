local keel = require "keel"
local lfs = require "lfs"
local files = require "support.files"
local support = require "support"

local APPLICATION_ID, USER_VERSION = 68, 60 -- offsets in the header of a SQLite file

--- A path with a closed, sound store of `runs` runs.
local function closed_store(runs)
  local path = support.path()
  local store = support.open(path)
  assert(store:transaction(function(tx)
    for i = 1, runs or 1 do
      assert(tx:put("run-" .. i, { thread_id = "t", metadata = { text = ("x"):rep(300) } }))
    end
    return true
  end))
  store:close()
  return path
end

--- Opens, or opens and reads, and expects the code, the path in the message, and the file as it was.
local function refused_unchanged(code, path, options)
  local before = files.read(path)
  local err = support.refused(code, keel.open(path, options))
  assert.truthy(err.message:find(path, 1, true), err.message)
  assert.is_false(err.transient and true or false)
  assert.is_true(before == files.read(path), "the file was changed")
  return err
end

describe("A path that is no store gets its code, the path in the message, and stays as it was: [#files]", function()
  after_each(support.clean_up)

  it("a missing directory is store_missing", function()
    local path = "/no/such/directory/keel.db"
    assert.truthy(support.refused("store_missing", keel.open(path)).message:find(path, 1, true))
  end)

  it("a directory is io", function()
    local path = support.dir()
    assert.truthy(support.refused("io", keel.open(path)).message:find(path, 1, true))
  end)

  it("a path through a file is store_missing or io", function()
    local path = support.path()
    files.write(path, "x")
    local store, err = keel.open(path .. "/keel.db")
    assert.is_nil(store)
    assert.truthy(err.code == "store_missing" or err.code == "io")
  end)

  it("a file that is not a database is store_corrupt", function()
    for _, bytes in ipairs { "hello", ("All work and no play.\n"):rep(1000), ("\0"):rep(8192), "SQLite format 3\0" } do
      local path = support.path()
      files.write(path, bytes)
      refused_unchanged("store_corrupt", path)
    end
  end)

  it("another application's database is store_corrupt, with an id of its own or none", function()
    for _, id in ipairs { 0, 0x0F055111 } do
      local path = support.path()
      files.write(path, files.foreign(id))
      refused_unchanged("store_corrupt", path)
      refused_unchanged("store_corrupt", path, { readonly = true })
    end
  end)

  it("a Keel store under another application's id is store_corrupt", function()
    local path = closed_store()
    files.patch(path, APPLICATION_ID, "ABCD")
    refused_unchanged("store_corrupt", path)
  end)

  it("WORKER-13: a version that never was is store_corrupt", function()
    for _, version in ipairs { 0xFFFFFFFF, 0x80000000 } do
      local path = closed_store()
      files.patch(path, USER_VERSION, string.pack(">I4", version))
      support.refused("store_corrupt", keel.open(path))
    end
  end)

  it("a store from before the first release is store_version, and a sentence says so", function()
    for _, version in ipairs { 1, 7, 100, 101 } do
      local path = closed_store()
      files.patch(path, USER_VERSION, string.pack(">I4", version))
      for _, readonly in ipairs { false, true } do
        local err = refused_unchanged("store_version", path, { readonly = readonly })
        assert.truthy(err.message:find("from before the first release", 1, true), err.message)
      end
    end
  end)

  it("a store of a newer version is store_version", function()
    local path = closed_store()
    files.patch(path, USER_VERSION, string.pack(">I4", 9999))
    refused_unchanged("store_version", path)
    refused_unchanged("store_version", path, { readonly = true })
  end)

  it("a truncated store is store_corrupt, wherever it was cut", function()
    local whole = files.read(closed_store(200))
    for _, size in ipairs { 16, 99, 100, 1000, 4096, #whole // 2, #whole - 1 } do
      local path = support.path()
      files.write(path, whole:sub(1, size))
      refused_unchanged("store_corrupt", path)
    end
  end)

  it("a file of one byte is store_corrupt", function()
    local path = support.path()
    files.write(path, "x")
    refused_unchanged("store_corrupt", path)
  end)

  it("an empty file becomes a store, as one made by mktemp", function()
    local path = support.path()
    files.write(path, "")
    assert(support.open(path):put("r", { thread_id = "t" }))
  end)
end)

describe("A damaged page is found, [#files]", function()
  after_each(support.clean_up)

  it("typed, never a crash, wherever it is", function()
    local whole = files.read(closed_store(200))
    local page = string.unpack(">I2", whole, 17)
    local found = 0
    for offset = page, #whole - page, page * math.max(1, #whole // page // 24) do
      local path = support.path()
      files.write(path, whole)
      files.patch(path, offset, ("\xA5"):rep(page))
      local store, err = keel.open(path)
      local problems = store and (store:verify() or { "an error" })
      if store then
        local _, reading = store:list_by_thread("t", { limit = 1000 })
        err = reading
        store:close()
      end
      assert.is_true(err == nil or err.code == "store_corrupt", tostring(err))
      if not problems or #problems > 0 then found = found + 1 end
    end
    assert.is_true(found >= 20)
  end)
end)

describe("The operating system's refusals are typed: [#files]", function()
  after_each(support.clean_up)

  local function is_root()
    local pipe <close> = io.popen "id -u"
    return pipe:read "l" == "0"
  end

  --- Runs the chunk as somebody who may not do everything; nil when that is not possible here.
  local function unprivileged(chunk, arguments)
    local prefix = is_root() and { "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups" } or nil
    local probe = support.spawn("say 'here'", {}, { prefix = prefix, open_to_all = true })
    if probe:wait() ~= 0 then return nil end
    return support.spawn(chunk, arguments, { prefix = prefix, open_to_all = true })
  end

  local OPEN = [[
    local path, options = ..., {}
    if select(2, ...) == "readonly" then options.readonly = true end
    local store, err = keel.open(path, options)
    if store then _, err = store:put("s", { thread_id = "t" }) end
    say(err and err.code or "ok") say(err and err.message or "")
  ]]

  for mode, codes in pairs { ["000"] = { io = true }, ["444"] = { io = true, store_readonly = true } } do
    it("a file of mode " .. mode .. " without permission", function()
      local path = closed_store()
      local directory = path:match "^(.*)/"
      os.execute(("chmod 755 %s && chmod %s %s"):format(directory, mode, path))
      local child = unprivileged(OPEN, { path })
      if not child then return pending "another user cannot read this checkout" end
      local code, message = child:hear(), child:hear()
      assert.is_true(codes[code] ~= nil, code .. ": " .. message)
      assert.truthy(message:find(path, 1, true), message)
      child:finish()
    end)
  end

  it("a directory without permission to write is io, and nothing is left in it", function()
    local path = support.path()
    os.execute("chmod 555 " .. path:match "^(.*)/")
    local child = unprivileged(OPEN, { path })
    if not child then return pending "another user cannot read this checkout" end
    child:expect "io"
    assert.truthy(child:hear():find(path, 1, true))
    child:finish()
    assert.is_nil(lfs.attributes(path))
  end)
end)
