--- A full disk and a read-only file system, on a small file system mounted for the test. Needs root.
local keel = require "keel"
local support = require "support"

local function run(format, ...)
  return os.execute(format:format(...) .. " 2>/dev/null")
end

--- Fills the file system with a file, and says that it did.
local function fill(path)
  local file <close> = assert(io.open(path, "wb"))
  file:setvbuf "no"
  local written = 0
  while file:write(("\0"):rep(1024)) do written = written + 1 end
  assert(written > 0, "there was no room to begin with")
end

describe("On a small file system", function()
  local mounted

  --- A directory on a file system of its own, or nil where that is not allowed.
  local function mount(size)
    local directory = support.dir()
    if not run("mount -t tmpfs -o size=%s,mode=755 tmpfs %s", size, directory) then return nil end
    mounted = directory
    return directory
  end

  after_each(function()
    local directory = mounted
    mounted = nil
    if directory then run("umount -l %s", directory) end
    support.clean_up()
  end)

  it("a full disk is store_full with the path in the message, and nothing changed", function()
    local directory = mount "512k"
    if not directory then return pending "mounting is not allowed here" end
    local path = directory .. "/keel.db"
    local store = support.open(path)
    local text, stored, err = ("x"):rep(4000), 0, nil
    for i = 1, 1000 do
      local ok
      ok, err = store:put("run-" .. i, { thread_id = "t", kwargs = { text = text } })
      if not ok then break end
      stored = i
    end
    support.refused("store_full", nil, err)
    assert.truthy(err.message:find(path, 1, true), err.message)
    assert.is_nil(store:get("run-" .. stored + 1))
    assert.equal("pending", assert(store:get("run-" .. stored)).status)
    assert.equal(stored, #support.events(store))
    assert.same({}, store:verify())
  end)

  it("F-64: a full inode table is store_full, and the message names inodes", function()
    local directory = mount "8m,nr_inodes=4"
    if not directory then return pending "mounting is not allowed here" end
    local path = directory .. "/keel.db"
    local made = 0
    while run("touch %s/%d", directory, made) do made = made + 1 end
    local err = support.refused("store_full", keel.open(path))
    assert.truthy(err.message:find("no inodes left", 1, true), err.message)
    -- One is free: the store can be made, and nothing beside it.
    os.remove(directory .. "/0")
    err = support.refused("store_full", keel.open(path))
    assert.truthy(err.message:find("no inodes left", 1, true), err.message)
    for i = 1, made - 1 do os.remove(directory .. "/" .. i) end
    assert(run("mount -o remount,nr_inodes=20 %s", directory))
    assert(support.open(path):put("r", { thread_id = "t" }))
  end)

  it("a store that found the disk full goes on when there is room again", function()
    local directory = mount "768k"
    if not directory then return pending "mounting is not allowed here" end
    local store = support.open(directory .. "/keel.db")
    assert(store:put("first", { thread_id = "t" }))
    fill(directory .. "/ballast")
    local text, err = ("x"):rep(100000), nil
    for i = 1, 100 do
      local ok
      ok, err = store:put("run-" .. i, { thread_id = "t", kwargs = { text = text } })
      if not ok then break end
    end
    support.refused("store_full", nil, err)
    os.remove(directory .. "/ballast")
    assert(store:put("after", { thread_id = "t", kwargs = { text = text } }))
    assert.same({}, store:verify())
  end)

  it("opening a new store on a full disk is store_full", function()
    local directory = mount "64k"
    if not directory then return pending "mounting is not allowed here" end
    fill(directory .. "/ballast")
    local err = support.refused("store_full", keel.open(directory .. "/keel.db"))
    assert.truthy(err.message:find(directory .. "/keel.db", 1, true), err.message)
  end)

  it("a read-only file system is store_readonly, and reads go on", function()
    local directory = mount "4m"
    if not directory then return pending "mounting is not allowed here" end
    local path = directory .. "/keel.db"
    local store = support.open(path)
    assert(store:put("r", { thread_id = "t" }))
    store:close()
    assert(run("mount -o remount,ro %s", directory))
    local again, err = keel.open(path)
    if again then
      assert.equal("pending", assert(again:get "r").status)
      err = select(2, again:put("s", { thread_id = "t" }))
      again:close()
    end
    support.refused("store_readonly", nil, err)
    assert.truthy(err.message:find(path, 1, true), err.message)
  end)

  it("a new store on a read-only file system is store_readonly", function()
    local directory = mount "4m"
    if not directory then return pending "mounting is not allowed here" end
    assert(run("mount -o remount,ro %s", directory))
    support.refused("store_readonly", keel.open(directory .. "/keel.db"))
  end)
end)
