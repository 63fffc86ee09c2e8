--- The files of a store: what was replaced, linked, mounted apart or taken away is told before anything is written.
local command = require "support.command"
local files = require "support.files"
local keel = require "keel"
local kernel = require "keel.kernel"
local lfs = require "lfs"
local process = require "support.process"
local support = require "support"
local terminal = require "support.terminal"

local function sh(format, ...)
  return os.execute(format:format(...) .. " 2>/dev/null")
end

local function run_id(id) return { thread_id = "t", kwargs = { pad = ("x"):rep(300), id = id } } end

-- Leaves a store whose last process was killed, so that its log is there.
local function killed(path, runs)
  local child = support.spawn([[
    local keel = require "keel"
    local store = assert(keel.open(arg[1]))
    for i = 1, tonumber(arg[2]) do
      assert(store:put("new-" .. i, { thread_id = "t", kwargs = { pad = ("x"):rep(300) } }))
    end
    print "written"
    io.read "l"
  ]], { path, runs or 200 })
  child:expect "written"
  child:kill()
  assert.is_true(lfs.attributes(path .. "-wal", "size") > 0)
end

-- A store with one run, closed, and a backup of it.
local function with_backup()
  local path, backup = support.path(), support.path()
  local store = support.open(path)
  assert(store:put("old", run_id "old"))
  assert(store:backup(backup))
  store:close()
  return path, backup
end

describe("A store whose file was replaced [#files]", function()
  after_each(support.clean_up)

  for how, format in pairs { ["copied over it"] = "cp '%s' '%s'", ["moved there"] = "mv '%s' '%s'" } do
    it("F-1: is not opened with the log of a killed process when a backup was " .. how, function()
      local path, backup = with_backup()
      killed(path)
      local log = files.read(path .. "-wal")
      assert(sh(format, backup, path))
      local before = files.read(path)
      for _, readonly in ipairs { false, true } do
        local err = support.refused("replaced", keel.open(path, { readonly = readonly }))
        assert.truthy(err.message:find("keel restore", 1, true), err.message)
        assert.is_false(err.transient)
      end
      assert.equal(1, command.run({ "--store", path, "exec", "--", "true" }).code)
      assert.is_true(before == files.read(path) and log == files.read(path .. "-wal"), "something was written")
    end)
  end

  it("F-1: is opened after a kill, whatever became of names and inodes", function()
    local path = with_backup()
    killed(path)
    local copy = support.dir() .. "/copied"
    assert(sh("cp -r '%s' '%s'", path:match "^(.*)/", copy))
    for _, place in ipairs { path, copy .. path:match "(/[^/]*)$" } do
      local store = support.open(place)
      assert.truthy(store:get "new-200")
      assert.same({}, store:verify())
      store:close()
    end
    local moved = support.dir() .. "/moved"
    killed(path, 300)
    assert(sh("mv '%s' '%s'", path:match "^(.*)/", moved))
    assert.truthy(support.open(moved .. path:match "(/[^/]*)$"):get "new-300")
  end)

  it("F-1: is opened when its process was killed while it wrote a part of a page back from the log", function()
    local path = with_backup()
    killed(path)
    assert(sh("head -c 100 /dev/zero >>'%s'", path))
    local store = support.open(path)
    assert.truthy(store:get "new-200")
    assert.same({}, store:verify())
  end)

  it("F-1: is opened when nobody had left a log", function()
    local path, backup = with_backup()
    assert(support.open(path):close() == nil)
    assert(sh("cp '%s' '%s'", backup, path))
    local store = support.open(path)
    assert.truthy(store:get "old")
    assert(store:put("more", run_id "more"))
  end)

  it("F-1: is not opened while a process has the old file open, though its log was moved away", function()
    local path, backup = with_backup()
    local child = support.spawn([[
      local store = assert(require "keel".open(arg[1]))
      assert(store:put("new", { thread_id = "t" }))
      print "written"
      io.read "l"
    ]], { path })
    child:expect "written"
    assert(sh("mv '%s' '%s' && rm '%s-wal'", backup, path, path))
    local err = support.refused("replaced", keel.open(path))
    assert.matches("a process still has the file open", err.message)
    child:kill()
    assert.truthy(support.open(path):get "old")
  end)

  it("F-1: is opened when the log of a killed process was moved away, as the message says", function()
    local path, backup = with_backup()
    killed(path)
    assert(sh("cp '%s' '%s' && rm '%s-wal'", backup, path, path))
    assert.truthy(lfs.attributes(path .. "-shm"))
    local store = support.open(path)
    assert.truthy(store:get "old")
    assert(store:put("more", run_id "more"))
  end)

  local ways = {
    deleted = "rm '%s'",
    ["deleted with its log"] = "rm '%s' '%s-wal' '%s-shm'",
    renamed = "mv '%s' '%s.else'",
    ["in a renamed folder"] = "mv \"$(dirname '%s')\" \"$(dirname '%s')-else\"",
  }
  for how, format in pairs(ways) do
    it("F-2: acknowledges nothing into a file that is " .. how, function()
      local path = support.dir() .. "/folder"
      assert(lfs.mkdir(path))
      path = path .. "/keel.db"
      local store = support.open(path)
      assert(store:put("before", run_id "before"))
      local manager = keel.run_manager { store = store }
      local cursor = assert(store:read_events()).cursor
      local waiter <close> = assert(store:event_waiter())
      assert(sh(format, path, path, path))
      local err = support.refused("replaced", store:put("after", run_id "after"))
      assert.truthy(err.message:find(path, 1, true) and err.message:find "gone", err.message)
      support.refused("replaced", store:begin())
      support.refused("replaced", manager:create_or_reject "after")
      support.refused("replaced", store:wait_events(cursor))
      support.refused("replaced", waiter:look(cursor))
      store:close()
    end)
  end

  it("is told by a record that is written once", function()
    local path = support.path()
    local function changed()
      support.open(path):close()
      local pipe <close> = assert(io.popen(("stat -c %%y '%s-wake'"):format(path)))
      return pipe:read "l"
    end
    local first = changed()
    assert.equal(first, changed())
  end)

  it("F-2: ends a wait at once, however long it was to be", function()
    local path, sleeps = support.path(), 0
    local other = support.open(path)
    local store = support.open(path, { sleep = function()
      sleeps = sleeps + 1
      if sleeps ~= 2 then return end
      assert(other:append_event { kind = "note" }) -- wakes it
      assert(sh("mv '%s' '%s.else'", path, path))
    end })
    local cursor = assert(store:read_events()).cursor
    support.refused("replaced", store:wait_events(cursor, { timeout = 5 }))
    assert.equal(2, sleeps)
    store:close()
    other:close()
  end)

  it("F-2: acknowledges nothing into another file that came into its place", function()
    for _, format in ipairs { "mv '%s' '%s'", "cp '%s' '%s'", "cat '%s' >'%s'" } do
      local path, backup = with_backup()
      local store = support.open(path)
      assert(store:put("before", run_id "before"))
      assert(sh(format, backup, path))
      local bytes = files.exists(backup) and files.read(backup)
      support.refused("replaced", store:put("after", run_id "after"))
      store:close()
      assert.is_true(not bytes or bytes == files.read(path), "closing it wrote into the other file")
      assert(keel.restore(files.exists(backup) and backup or path, path .. ".new"))
    end
  end)

  it("F-2: leaves the log of a store that was made anew to that", function()
    local path = with_backup()
    local old = support.open(path)
    assert(old:put("a", run_id "a"))
    assert(sh("rm '%s' '%s-wal' '%s-shm'", path, path, path))
    local new = support.open(path)
    assert(new:put("b", run_id "b"))
    support.refused("replaced", old:put("c", run_id "c"))
    old:close()
    assert(new:put("d", run_id "d"))
    local third = support.open(path)
    assert.truthy(third:get "b" and third:get "d")
    assert.is_nil(third:get "a")
    assert.same({}, third:verify())
  end)

  it("F-2: ends keel events --follow", function()
    local path = with_backup()
    local child = command.start { "--store", path, "events", "--follow" }
    process.poll_until(function() return child.output:find "run_created" end, 5000)
    assert(os.rename(path, path .. ".else"))
    assert.equal(1, child:wait())
    assert.truthy(child.errors:find "the file is gone")
  end)
end)

describe("A store with two names [#files]", function()
  local mounted
  after_each(function()
    if mounted then sh("umount -l '%s'", mounted) end
    mounted = nil
    support.clean_up()
  end)

  it("F-3: is refused by a hard link, and fine by a symbolic one", function()
    local path = with_backup()
    assert(sh("ln -s '%s' '%s.soft'", path, path))
    assert(support.open(path .. ".soft"):put("soft", run_id "soft"))
    assert(sh("ln '%s' '%s.hard'", path, path))
    for _, name in ipairs { path, path .. ".hard", path .. ".soft" } do
      local err = support.refused("io", keel.open(name))
      assert.truthy(err.message:find "hard link" and err.message:find "symbolic link", err.message)
    end
  end)

  it("F-3: is refused where its file alone is mounted, and fine where its folder is", function()
    local path = with_backup()
    local folder, box = path:match "^(.*)/", support.dir()
    files.write(box .. "/keel.db", "")
    if not sh("mount --bind '%s' '%s/keel.db'", path, box) then return pending "mounting is not allowed here" end
    mounted = box .. "/keel.db"
    local err = support.refused("io", keel.open(mounted))
    assert.truthy(err.message:find("mount the folder", 1, true), err.message)
    assert(sh("umount '%s'", mounted))
    assert(sh("mount --bind '%s' '%s'", folder, box))
    mounted = box
    local here, there = support.open(path), support.open(box .. path:match "(/[^/]*)$")
    assert(here:put("here", run_id "here"))
    assert(there:put("there", run_id "there"))
    assert.truthy(here:get "there" and there:get "here")
    here:close()
    there:close()
  end)

  it("F-59: is refused through a mount that does not share its locks", function()
    local path = with_backup()
    local box = support.dir()
    if not sh("bindfs '%s' '%s'", path:match "^(.*)/", box) then
      return pending "there is no bindfs, or mounting is not allowed here"
    end
    mounted = box
    local through = box .. path:match "(/[^/]*)$"
    support.open(through):close() -- alone it is fine
    for _, names in ipairs { { path, through }, { through, path } } do
      local child = support.spawn([[
        local store = assert(require "keel".open(arg[1]))
        assert(store:put(arg[2], { thread_id = "t" }))
        print "open"
        io.read "l"
      ]], { names[1], "r" .. #names[1] })
      child:expect "open"
      local err = support.refused("io", keel.open(names[2]))
      assert.truthy(err.message:find("not shared", 1, true), err.message)
      child:kill()
    end
  end)
end)

describe("The files beside a store [#files]", function()
  after_each(support.clean_up)

  local function rights(path)
    local about = lfs.attributes(path)
    return about and { about.uid, about.gid, about.permissions }
  end

  it("F-4: are its owner's, whoever comes first", function()
    local folder = support.dir()
    local path = folder .. "/keel.db"
    support.open(path):close()
    if not sh("chown -R 1500:1501 '%s' && chmod 750 '%s' && chmod 640 '%s'", folder, folder, path) then
      return pending "only root may give a file away"
    end
    os.remove(path .. "-wake")
    local store = support.open(path)
    assert(store:put("r", run_id "r"))
    for _, ending in ipairs { "-sessions", "-wake", "-wal", "-shm" } do
      assert.same({ 1500, 1501, "rw-r-----" }, rights(path .. ending), ending)
    end
    store:close()
    assert(sh("chown 0:0 '%s-wake' && chmod 600 '%s-wake'", path, path)) -- as they were made once
    support.open(path):close()
    assert.same({ 1500, 1501, "rw-r-----" }, rights(path .. "-wake"))
  end)

  it("F-4: serve two users of a group", function()
    local folder = support.dir()
    local path = folder .. "/keel.db"
    support.open(path):close()
    if not sh("chown -R 1500:1501 '%s' && chmod 2770 '%s' && chmod 660 '%s' && rm '%s-wake' '%s-sessions'", folder,
      folder, path, path, path) then
      return pending "only root may give a file away"
    end
    local chunk = [[
      local store = assert(require "keel".open(arg[1]))
      assert(store:put(arg[2], { thread_id = "t" }))
      print "written"
      io.read "l"
    ]]
    for _, uid in ipairs { "1502", "1500", "1503" } do
      local child = support.spawn(chunk, { path, uid }, {
        prefix = { "setpriv", "--reuid", uid, "--regid", uid, "--groups", "1501" } })
      child:expect "written"
    end
    assert.truthy(support.open(path):get "1503")
  end)

  it("F-40: are there from the opening on, and none for a reader", function()
    local path = support.path()
    local store = support.open(path)
    assert.truthy(files.exists(path .. "-sessions") and files.exists(path .. "-wake"))
    store:close()
    os.remove(path .. "-sessions")
    os.remove(path .. "-wake")
    support.open(path, { readonly = true }):close()
    assert.is_false(files.exists(path .. "-sessions") or files.exists(path .. "-wake"))
  end)

  it("F-49: are never followed elsewhere, nor waited for", function()
    for _, ending in ipairs { "", "-sessions", "-wake", "-wal", "-shm", "-journal" } do
      for kind, make in pairs { link = "ln -s '%s.victim' '%s'", hard = "ln '%s.victim' '%s'",
        fifo = ": '%s'; mkfifo '%s'", device = ": '%s'; mknod '%s' c 1 3",
        folder = ": '%s'; mkdir '%s'" } do
        local path = support.path()
        support.open(path):close()
        files.write(path .. ".victim", "ssh-rsa AAAA")
        os.remove(path .. ending)
        if ending ~= "" or kind ~= "link" and kind ~= "hard" then
          if sh(make, path, path .. ending) then
            local err = support.refused("io", keel.open(path))
            assert.truthy(err.message:find(path .. ending, 1, true), err.message)
            assert.equal("ssh-rsa AAAA", files.read(path .. ".victim"))
          end
        end
      end
    end
  end)

  it("F-49: are not a stranger's", function()
    local path = support.path()
    support.open(path):close()
    local given = sh("chmod 777 \"$(dirname '%s')\" && chown 1500 '%s' '%s-sessions' && chown 1600 '%s-wake'", path,
      path, path, path)
    if not given then
      return pending "only root may give a file away"
    end
    local result = command.run({ "--store", path, "exec", "--", "true" },
      { prefix = { "setpriv", "--reuid", "1500", "--regid", "1500", "--clear-groups" } })
    assert.equal(1, result.code)
    assert.truthy(result.errors:find "belongs to user 1600", result.errors)
  end)

  it("F-10: go when the last one who reads closes a store that everybody has closed", function()
    local path = with_backup()
    local store = support.open(path, { readonly = true })
    assert.truthy(store:get "old")
    store:close()
    assert.is_false(files.exists(path .. "-wal") or files.exists(path .. "-shm"))
    command.run { "--store", path, "runs", "list" }
    assert.is_false(files.exists(path .. "-wal") or files.exists(path .. "-shm"))
  end)
end)

describe("Room [#files]", function()
  after_each(support.clean_up)

  it("F-7: of the log is given back after a burst, and doctor blames nobody", function()
    local path = support.path()
    local idle, store = support.open(path), support.open(path, { durability = "off" })
    assert(idle:put("idle", run_id "idle"))
    assert(store:transaction(function(tx)
      for i = 1, 500 do assert(tx:put("r" .. i, { thread_id = "t", kwargs = { pad = ("x"):rep(200000) } })) end
    end))
    assert.is_true(lfs.attributes(path .. "-wal", "size") > 64 << 20)
    local result = command.run { "--store", path, "doctor" }
    assert.is_nil(result.output:find "reads for very long")
    for i = 1, 3 do assert(store:put("s" .. i, run_id "s")) end
    assert.is_true(lfs.attributes(path .. "-wal", "size") <= 8 << 20)
    result = command.run { "--store", path, "doctor" }
    assert.is_nil(result.output:find "log", result.output)
  end)

  it("F-9: of what was pruned is told of, and given back by compact; backups carry none", function()
    local path, copy = support.path(), support.path()
    local store = support.open(path, { durability = "off" })
    for i = 1, 300 do
      assert(store:put("r" .. i, { thread_id = "t", status = "success", kwargs = { pad = ("x"):rep(3000) } }))
    end
    local counts, unused = assert(store:prune { keep_last = 10 })
    assert.equal(290, counts.runs)
    assert.is_true(unused > 500000, unused)
    assert(store:backup(copy))
    assert.is_true(lfs.attributes(copy, "size") < 400000)
    assert.same({}, support.open(copy):verify())
    local other = support.open(path)
    local before = store:stats().bytes
    local freed = assert(store:compact())
    assert.equal(unused, freed)
    assert.equal(before - freed, store:stats().bytes)
    assert.equal(before - freed, lfs.attributes(path, "size"))
    for _, handle in ipairs { store, other, support.open(path) } do assert(handle:append_event { kind = "k" }) end
    assert.same({}, store:verify())
    assert.equal(0, (select(2, assert(store:prune { keep_last = 1000 }))))
    local tx <close> = assert(store:begin())
    support.refused("busy", store:compact())
    tx:rollback()
    support.refused("store_readonly", support.open(path, { readonly = true }):compact())
    assert.equal(0, assert(support.open(":memory:"):compact()))
  end)
end)

describe("keel.restore [#files]", function()
  after_each(support.clean_up)

  it("F-9: puts a backup in the place of a store, with the rights of the old file and a new epoch", function()
    local path, backup = with_backup()
    local store = support.open(path)
    local epoch = store:epoch()
    assert(store:put("new", run_id "new"))
    store:close()
    assert(sh("chmod 640 '%s'", path))
    assert.is_true(assert(keel.restore(backup, path)))
    for _, ending in ipairs { "-wal", "-shm", "-journal", "-sessions", "-wake" } do
      assert.is_false(files.exists(path .. ending), ending)
    end
    assert.equal("rw-r-----", lfs.attributes(path, "permissions"))
    store = support.open(path)
    assert.truthy(store:get "old")
    assert.is_nil(store:get "new")
    assert.same({}, store:verify())
    local of_backup = support.open(backup):epoch()
    assert.is_true(store:epoch() ~= epoch and store:epoch() ~= of_backup)
  end)

  it("F-1: mends a store that was copied over by hand", function()
    local path, backup = with_backup()
    killed(path)
    assert(sh("cp '%s' '%s'", backup, path))
    support.refused("replaced", keel.open(path))
    assert(keel.restore(backup, path))
    local store = support.open(path)
    assert.truthy(store:get "old")
    assert.is_nil(store:get "new-1")
    assert.same({}, store:verify())
  end)

  it("F-9: takes a store that is missing, through a link too, or that is damaged", function()
    local _, backup = with_backup()
    local path = support.path()
    assert(keel.restore(backup, path))
    assert.equal("rw-------", lfs.attributes(path, "permissions"))
    assert.truthy(support.open(path):get "old")
    local damaged = support.path()
    files.write(damaged, ("no database "):rep(1000))
    assert(sh("ln -s '%s' '%s.link'", damaged, damaged))
    assert(keel.restore(backup, damaged .. ".link"))
    assert.truthy(support.open(damaged):get "old")
    assert.equal("link", lfs.symlinkattributes(damaged .. ".link", "mode"))
  end)

  it("F-9: is refused while a live session has the store open, and who only had it open is told", function()
    local path, backup = with_backup()
    local idle, store = support.open(path), support.open(path)
    assert.truthy(idle:get "old")
    assert(store:put("new", run_id "new"))
    support.refused("busy", keel.restore(backup, path))
    assert(store:put("newer", run_id "newer"))
    store:close()
    assert(keel.restore(backup, path))
    support.refused("replaced", idle:put("late", run_id "late"))
    idle:close()
    local after = support.open(path)
    assert.is_nil(after:get "late")
    assert.same({}, after:verify())
  end)

  it("F-9: leaves the store as it was when the backup is none", function()
    local path, backup = with_backup()
    local before = files.read(path)
    local cut = support.path()
    files.write(cut, files.read(backup):sub(1, -5000))
    local foreign = support.path()
    files.write(foreign, files.foreign(1))
    support.refused("store_missing", keel.restore(path .. ".none", path))
    support.refused("store_corrupt", keel.restore(cut, path))
    support.refused("store_corrupt", keel.restore(foreign, path))
    support.refused("store_corrupt", keel.restore(backup, foreign))
    support.invalid("backup", keel.restore(path, path))
    support.invalid("backup", keel.restore("", path))
    support.invalid("path", keel.restore(backup, ":memory:"))
    support.invalid("uri", keel.restore(backup, ""))
    support.refused("store_missing", keel.restore(backup, support.dir() .. "/none/keel.db"))
    support.raises("path", keel.restore, backup)
    support.raises("backup", keel.restore, {}, path)
    assert.is_true(before == files.read(path))
    assert.truthy(support.open(path):get "old")
  end)

  it("F-9: is keel restore, and keel compact gives room back", function()
    local path, backup = with_backup()
    local store = support.open(path)
    assert(store:put("new", run_id "new"))
    assert.equal(75, command.run({ "--store", path, "restore", backup }).code)
    store:close()
    local result = command.run { "--store", path, "restore", "--json", backup }
    assert.equal(0, result.code, result.errors)
    assert.same({ path = path, backup = backup }, kernel.json.decode(result.output))
    assert.is_nil(support.open(path):get "new")
    result = command.run { "--store", path, "compact", "--json" }
    assert.same({ path = path, freed_bytes = 0 }, kernel.json.decode(result.output))
    assert.truthy(command.run({ "--store", path, "compact" }).output:find "given back")
    assert.equal(1, command.run({ "--store", path, "restore", path .. ".none" }).code)
  end)

  it("F-9: asks on a terminal, before a store is replaced", function()
    local path, backup = with_backup()
    local store = support.open(path)
    assert(store:put("new", run_id "new"))
    store:close()
    for _, answer in ipairs { "n", "", "y" } do
      local screen = terminal.keel({ "--store", path, "restore", backup }, { width = 200 })
      local text = screen:expect "Go on? [y/N]"
      assert.truthy(text:find(path .. " is replaced by", 1, true), text)
      screen:enter(answer)
      assert.equal(answer == "y" and 0 or 1, screen:ended())
      store = support.open(path)
      assert.equal(answer ~= "y", store:get "new" ~= nil)
      store:close()
    end
  end)

  it("F-9: replaces nothing where the question cannot be shown, unless --yes says so", function()
    local path, backup = with_backup()
    local words = { "/bin/sh", "-c", [["$@" 2>errors; echo "ended with $?"; cat errors; read -r _]], "sh",
      command.program, "--store", path, "restore", backup }
    local store = support.open(path)
    local before = store:epoch()
    store:close()
    local screen = terminal.start(words, { cwd = support.dir(), width = 200 })
    screen:expect "ended with 1"
    screen:expect "nothing was replaced; --yes does it without asking"
    store = support.open(path)
    assert.equal(before, store:epoch())
    store:close()
    assert.equal(0, terminal.keel({ "--store", path, "restore", "--yes", backup }):ended())
  end)
end)
