--- The hash of a directory's contents.
local keel = require "keel"
local lfs = require "lfs"
local uv = require "luv"
local kernel = require "keel.kernel"
local files = require "support.files"
local support = require "support"

local hash_dir = keel.dispatcher.hash_dir

describe("keel.dispatcher.hash_dir", function()
  after_each(support.clean_up)

  local dir
  before_each(function() dir = support.dir() end)

  local function write(name, bytes)
    local folder = name:match "^(.*)/"
    if folder then lfs.mkdir(dir .. "/" .. folder) end
    files.write(dir .. "/" .. name, bytes)
  end

  -- What the documentation says, in another way: entries sorted by path.
  local function expected(entries)
    local paths, bytes = {}, {}
    for path in pairs(entries) do paths[#paths + 1] = path end
    table.sort(paths)
    for i, path in ipairs(paths) do
      local kind, content = entries[path]:match "^(%l+):(.*)$"
      bytes[i] = path .. "\0" .. kind .. " " .. kernel.sha256(content) .. "\n"
    end
    return kernel.sha256(table.concat(bytes))
  end

  it("DISPATCH-14: is sha-256 over the sorted paths and the hashes of the contents", function()
    local entries = {}
    for _, name in ipairs { "b", "a/z", "a/y", "a-b", "a.txt", "a!", ".hidden", "ä", "sub/x" } do
      write(name, "content of " .. name)
      entries[name] = "file:content of " .. name
    end
    write("empty", "")
    entries.empty = "file:"
    assert.equal(expected(entries), hash_dir(dir))
    assert.equal(expected(entries), hash_dir(dir .. "/"))
  end)

  it("DISPATCH-14: an empty directory, and empty directories in it, have the hash of nothing", function()
    assert.equal(kernel.sha256 "", hash_dir(dir))
    assert(lfs.mkdir(dir .. "/sub"))
    assert.equal(kernel.sha256 "", hash_dir(dir))
  end)

  it("DISPATCH-14: changes when a file is changed, renamed, moved, added or removed, not when it is touched", function()
    write("a", "1")
    write("sub/b", "2")
    local seen, before = {}, assert(hash_dir(dir))
    local function is_new()
      local hash = assert(hash_dir(dir))
      assert.is_nil(seen[hash])
      seen[hash] = true
    end
    assert(lfs.touch(dir .. "/a", 1, 1))
    assert(uv.fs_chmod(dir .. "/a", tonumber("755", 8)))
    assert.equal(before, hash_dir(dir))
    is_new()
    write("a", "3")
    is_new()
    assert(os.rename(dir .. "/a", dir .. "/c"))
    is_new()
    assert(os.rename(dir .. "/c", dir .. "/sub/c"))
    is_new()
    write("d", "")
    is_new()
    assert(os.remove(dir .. "/sub/b"))
    is_new()
  end)

  it("DISPATCH-14: the names and contents of files cannot be moved into each other", function()
    write("a", "b")
    local first = hash_dir(dir)
    os.remove(dir .. "/a")
    write("ab", "")
    assert.not_equal(first, hash_dir(dir))
  end)

  it("DISPATCH-14: links are not followed: the text of the target counts", function()
    local outside = support.dir()
    files.write(outside .. "/secret", "1")
    write("a", "1")
    assert(uv.fs_symlink(outside .. "/secret", dir .. "/file"))
    assert(uv.fs_symlink(outside, dir .. "/folder"))
    assert(uv.fs_symlink("nowhere", dir .. "/dangling"))
    assert(uv.fs_symlink(".", dir .. "/loop"))
    local before = assert(hash_dir(dir))
    assert.equal(expected { a = "file:1", file = "link:" .. outside .. "/secret", folder = "link:" .. outside,
      dangling = "link:nowhere", loop = "link:." }, before)
    files.write(outside .. "/secret", "2")
    assert.equal(before, hash_dir(dir))
    assert(uv.fs_symlink(dir, outside .. "/root"))
    assert.equal(before, hash_dir(outside .. "/root")) -- the directory itself may be named by a link
  end)

  it("DISPATCH-14: pipes and sockets are passed by", function()
    write("a", "1")
    local before = hash_dir(dir)
    assert(os.execute("mkfifo " .. dir .. "/pipe"))
    assert.equal(before, hash_dir(dir))
  end)

  it("DISPATCH-14: a large file is read in constant memory", function()
    local path = dir .. "/large"
    local fd = assert(uv.fs_open(path, "w", tonumber("600", 8)))
    assert(uv.fs_ftruncate(fd, 256 * 2 ^ 20)) -- a hole: takes no room on the disk
    uv.fs_close(fd)
    local child = support.spawn([[
      local hash = assert(keel.dispatcher.hash_dir((...)))
      say(hash)
      for line in io.lines "/proc/self/status" do
        if line:find "^VmHWM" then say(line:match "%d+") end
      end
    ]], { dir })
    assert.equal(64, #child:hear())
    assert.is_true(tonumber(child:hear()) < 64 * 1024, "it took more than 64 MiB")
    child:finish()
  end)

  it("what is no directory is an error", function()
    write("a", "1")
    local err = support.refused("not_found", hash_dir(dir .. "/none"))
    assert.equal(dir .. "/none", err.path)
    support.invalid("path", hash_dir(dir .. "/a"))
    support.refused("not_found", hash_dir "")
    support.raises("path", hash_dir, 1)
    support.raises("zero byte", hash_dir, dir .. "\0")
  end)

  it("an error names the file that cannot be read", function()
    write("sub/ok", "1")
    write("sub/secret", "2")
    assert(uv.fs_chmod(dir .. "/sub/secret", 0))
    local code = [[
      local dir = ...
      local hash, err = keel.dispatcher.hash_dir(dir)
      say(tostring(hash), err and err.code, err and err.path)
      say(tostring(err))
    ]]
    local is_root = uv.getuid() == 0 -- to whom nothing is forbidden
    local prefix = is_root and { "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups" } or nil
    local probe = support.spawn("say 'here'", {}, { prefix = prefix, open_to_all = true })
    if probe:wait() ~= 0 then return pending "another user cannot read this checkout" end
    assert(uv.fs_chmod(dir, tonumber("755", 8)))
    local child = support.spawn(code, { dir }, { prefix = prefix, open_to_all = true })
    assert.equal("nil\tio\t" .. dir .. "/sub/secret", child:hear())
    assert.equal(("io: cannot hash %s/sub/secret: Permission denied"):format(dir), child:hear())
    child:finish()
  end)

  it("a path that is too long is an error, however deep", function()
    local folder, path = ("x"):rep(200), dir
    local old = lfs.currentdir()
    assert(lfs.chdir(dir))
    for _ = 1, 25 do
      assert(lfs.mkdir(folder))
      assert(lfs.chdir(folder))
      path = path .. "/" .. folder
    end
    files.write("deep", "1")
    assert(lfs.chdir(old))
    local err = support.refused("io", hash_dir(dir))
    assert.is_truthy(err.message:find("too long", 1, true))
    assert(os.execute("rm -r " .. dir .. "/" .. folder))
    assert.is_true(#path > 4096)
  end)

  it("a file that is open here is refused: closing a store's file by hand would drop its locks", function()
    local store = support.open(dir .. "/keel.db")
    assert(store:put("run-1", { thread_id = "t" }))
    local err = support.invalid("path", hash_dir(dir))
    assert.is_truthy(err.path:find("keel.db", 1, true))
    -- The locks are still there: another process finds the session alive, and its writes wait for ours.
    local tx <close> = assert(store:begin())
    local child = support.spawn([[
      local store = assert(keel.open((...), { lock_timeout = 0.05 }))
      say(tostring(select(2, store:put("run-2", { thread_id = "t" }))))
      say(tostring(store:session_alive(1)))
    ]], { dir .. "/keel.db" })
    assert.is_truthy(child:hear():find "^busy")
    child:expect "true"
    child:finish()
    assert(tx:commit())
  end)
end)
