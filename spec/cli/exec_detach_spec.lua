--- keel exec --detach: in the background, under the same supervision; and keel runs output, which shows what it said.
local command = require "support.command"
local files = require "support.files"
local kernel = require "keel.kernel"
local lfs = require "lfs"
local process = require "support.process"
local support = require "support"
local terminal = require "support.terminal"

local function modes(path) return lfs.symlinkattributes(path, "permissions") end

describe("keel exec --detach", function()
  local keel, path, env, folder, started

  before_each(function()
    folder, started = support.dir(), {}
    keel, path, env = command.on_store { XDG_STATE_HOME = folder .. "/state" }
  end)

  after_each(function()
    for _, run_id in ipairs(started) do
      keel("runs", "cancel", run_id)
      keel("runs", "wait", run_id)
    end
    support.clean_up()
  end)

  -- Puts a command in the background; its id.
  local function detach(...)
    local done = keel("exec", "--detach", ...)
    assert.same({ 0, "" }, { done.code, done.errors })
    local run_id = done.output:match "^(%S+)\n$"
    started[#started + 1] = assert(run_id, done.output)
    return run_id
  end

  local function row_of(run_id)
    local store <close> = assert(kernel.open(path, { create = false, readonly = true }))
    return assert(store:get(run_id))
  end

  local function wait_for_file(name)
    assert.is_true(process.poll_until(function() return files.exists(name) and files.read(name) ~= "" end), name)
    return files.read(name)
  end

  it("comes back at once with the id of a run that is in the store, and goes on", function()
    assert.equal(0, os.execute(("mkfifo %s/go"):format(folder)) and 0)
    local run_id = detach("-t", "t", "--", "sh", "-c", "echo up; read line <" .. folder .. "/go; echo $line; exit 3")
    assert.is_falsy(kernel.final[row_of(run_id).status])
    assert.equal(75, keel("exec", "-t", "t", "true").code) -- the thread is its
    local follower = command.start({ "runs", "output", "--follow", run_id }, { env = env })
    follower:expect "up"
    files.write(folder .. "/go", "on\n")
    follower:expect "on"
    assert.same({ 0, "" }, { (follower:wait()), follower.errors })
    assert.same({ "error", 3 }, { row_of(run_id).status, row_of(run_id).exit_code })
  end)

  it("has nothing of the login: no terminal, no session, no input, no descriptor, no hang-up", function()
    local shell = terminal.start({ "bash", "--norc", "--noprofile", "-i" }, { env = { PS1 = "> ", KEEL_STORE = path,
      XDG_STATE_HOME = env.XDG_STATE_HOME, HISTFILE = "", K = command.program, F = folder }, cwd = folder })
    shell:expect ">"
    shell:enter([[exec 9>$F/lock; $K exec -d -- sh -c 'cat; ls -l /proc/self/fd >$F/fds; ]]
      .. [[ps -o tty=,sid= $$ >$F/ps; trap "echo >$F/hup" HUP; read line <$F/go; echo $line >$F/end']])
    assert.equal(0, os.execute(("mkfifo %s/go"):format(folder)) and 0)
    local tty, session = wait_for_file(folder .. "/ps"):match "(%S+)%s+(%d+)"
    assert.equal("?", tty)
    shell:enter "echo $$ >$F/shell"
    assert.are_not.equal(wait_for_file(folder .. "/shell"):match "%d+", session)
    local fds = files.read(folder .. "/fds")
    assert.is_truthy(fds:find "0 %-> /dev/null")
    assert.is_falsy(fds:find "lock", fds)
    local pid = files.read(folder .. "/shell"):match "%d+"
    os.execute("kill -HUP " .. pid)
    assert.is_true(process.poll_until(function() return process.is_gone(pid) end))
    files.write(folder .. "/go", "on\n")
    assert.equal("on\n", wait_for_file(folder .. "/end"))
    assert.is_false(files.exists(folder .. "/hup"))
  end)

  it("keeps the output where only its user can read it, whatever the store", function()
    local run_id = detach("--", "sh", "-c", "umask 0; echo a; echo b >&2; echo c")
    keel("runs", "wait", run_id)
    local kept = row_of(run_id).logs_path
    assert.equal(folder .. "/state/keel/output/", kept:sub(1, #folder + 19))
    assert.same({ "rwx------", "rwx------", "rw-------" },
      { modes(kept:match "^(.*)/"), modes(kept), modes(kept .. "/output") })
    local shown = keel("runs", "output", run_id)
    assert.same({ 0, "a\nb\nc\n", "" }, { shown.code, shown.output, shown.errors }) -- in the order it was said in
  end)

  it("with --keep keeps it there, in two files", function()
    local run_id = detach("--keep", folder .. "/logs", "--", "sh", "-c", "echo a; echo b >&2")
    keel("runs", "wait", run_id)
    assert.equal(folder .. "/logs/" .. run_id, row_of(run_id).logs_path)
    local shown = keel("runs", "output", run_id)
    assert.same({ "a\n", "b\n" }, { shown.output, shown.errors })
  end)

  it("keeps the beginning and the end of long output, over attempts too", function()
    local run_id = detach("--attempts", "2", "--delay", "0", "--", "sh", "-c",
      "echo begin; head -c 5000000 /dev/zero; echo; echo end; exit 1")
    keel("runs", "wait", run_id)
    local shown = command.run({ "runs", "output", run_id }, { env = env, prefix = { "sh", "-c",
      ('"$@" >%s/shown'):format(folder), "sh" } })
    assert.equal("keel: 2 parts of the output were not kept\n", shown.errors)
    local text = files.read(folder .. "/shown")
    assert.equal("begin\n", text:sub(1, 6))
    assert.equal("\nend\n", text:sub(-5))
    assert.is_true(#text > 4 * 1024 ^ 2 and #text <= 6 * 1024 ^ 2, #text)
    local _, ends = text:gsub("\nend\n", "")
    assert.equal(1, ends) -- that of the first attempt is in what was left out
  end)

  it("tells in the foreground what keeps it from being in line", function()
    for _, case in ipairs {
      { 2, "which command", },
      { 2, "unknown strategy", "-s", "nosuch", "true" },
      { 1, "there is no folder", "--store", "/nowhere/store", "true" },
      { 1, "cannot keep the output in /proc/nowhere", "--keep", "/proc/nowhere", "true" },
    } do
      local done = keel("exec", "-d", table.unpack(case, 3))
      assert.equal(case[1], done.code)
      assert.equal("", done.output)
      assert.is_truthy(done.errors:find(case[2], 1, true), done.errors)
      assert.is_truthy(done.errors:find "^[^\n]*\n$")
    end
    assert.equal("", keel("runs", "list", "--json").output)
    detach("-t", "t", "sleep", "30")
    local refused = keel("exec", "-d", "-t", "t", "--json", "true")
    assert.same({ 75, "conflict" }, { refused.code, kernel.json.decode(refused.errors).error.code })
  end)

  it("keeps nothing where others may write", function()
    assert(lfs.mkdir(folder .. "/state") and lfs.mkdir(folder .. "/state/keel"))
    assert(lfs.link("/tmp", folder .. "/state/keel/output", true))
    local done = keel("exec", "-d", "true")
    assert.equal(1, done.code)
    assert.is_truthy(done.errors:find "cannot keep the output in .*/state/keel/output", done.errors)
    assert.equal("", keel("runs", "list", "--json").output) -- nothing was put in line
  end)

  it("gives the id of the run that its key had before", function()
    local run_id = detach("--key", "k", "echo", "once")
    assert.same({ run_id = run_id, reused = true },
      kernel.json.decode(keel("exec", "-d", "--json", "--key", "k", "echo", "once").output))
  end)

  it("is stopped, timed out and recovered as in the foreground", function()
    local late = detach("--timeout", "0.1", "sleep", "30")
    local stopped = detach("--", "sh", "-c", "echo up; sleep 30")
    local killed = detach("--", "sh", "-c", "echo $$; sleep 30")
    keel("runs", "wait", late)
    assert.same({ "timeout", 143 }, { row_of(late).status, row_of(late).exit_code })
    local follower = command.start({ "runs", "output", "-f", stopped }, { env = env })
    follower:expect "up"
    assert.equal(0, keel("runs", "cancel", stopped).code)
    assert.equal(0, (follower:wait()))
    assert.equal("interrupted", row_of(stopped).status)
    -- SIGKILL for the one in the background: the command goes with it, and the run is an orphan.
    follower = command.start({ "runs", "output", "-f", killed }, { env = env })
    local pid = follower:hear()
    local guardian = files.read(("/proc/%s/stat"):format(pid)):match "%) %a (%d+)"
    local background = files.read(("/proc/%s/stat"):format(guardian)):match "%) %a (%d+)"
    os.execute("kill -9 " .. background)
    assert.equal(1, (follower:wait()))
    assert.is_truthy(follower.errors:find "its process is gone")
    assert.is_true(process.poll_until(function() return process.is_gone(pid) end))
    assert.equal(0, keel("reconcile").code)
    assert.equal("error", row_of(killed).status)
  end)

  it("nothing is left, and no id told, when it is interrupted before it is in the store", function()
    local store = support.open(path)
    assert(store:transaction(function()
      local child = command.start({ "exec", "-d", "touch", folder .. "/ran" }, { env = env })
      -- The one in the background waits for the lock by now, or will hear of the signal when it does.
      assert.is_true(process.poll_until(function()
        return files.read(("/proc/%d/task/%d/children"):format(child.pid, child.pid)):match "%d+"
      end))
      child.handle:kill "sigint"
      process.turn_until(function() return child.code end)
      assert.equal("", child.output)
      return true
    end))
    assert.same({}, store:list_runs {})
    assert.is_false(files.exists(folder .. "/ran"))
  end)

  it("killed between any two steps: an id that was told is in the store", function()
    if not os.execute "strace -f -o /dev/null true 2>/dev/null" then
      return pending "strace is not here, or may not trace"
    end
    local count, told, lost, status = 0, 0, 0, nil
    keel("exec", "true") -- makes the store
    repeat
      count = count + 1
      local child = command.start({ "exec", "-d", "-s", "allow", "true" }, { env = env, prefix = { "strace", "-f", "-o",
        "/dev/null", "-e", "trace=fdatasync", "-e", ("inject=fdatasync:signal=KILL:when=%d"):format(count) } })
      child:wait()
      local run_id = child.output:match "^(%S+)\n$"
      if run_id then
        told = told + 1
        assert.is_truthy(row_of(run_id).logs_path)
        keel("runs", "wait", run_id)
        status = row_of(run_id).status
      else
        lost = lost + 1
        assert.is_true(child.code ~= 0 or child.signal ~= 0)
      end
    until status == "success"
    assert.is_true(told > 1 and lost > 1, told .. " " .. lost)
  end)
end)

describe("keel runs output", function()
  local keel, path, env, folder

  before_each(function()
    folder = support.dir()
    keel, path, env = command.on_store { XDG_STATE_HOME = folder .. "/state" }
  end)
  after_each(support.clean_up)

  local function made(fields)
    local store = support.open(path)
    local manager = support.manager(store)
    local run = assert(manager:create("t"))
    assert(store:put(run.run_id, fields))
    return run.run_id, store, manager
  end

  it("says what to do when nothing was kept", function()
    keel("exec", "true")
    local run_id = kernel.json.decode(keel("runs", "list", "--json").output).run_id
    local done = keel("runs", "output", run_id)
    assert.same({ 1, "" }, { done.code, done.output })
    assert.is_truthy(done.errors:find("'keel exec --detach' or 'keel exec --keep DIR' keeps it", 1, true))
    assert.is_truthy(keel("runs", "output", "nosuch").errors:find "there is no run nosuch; 'keel runs list' lists them")
    local waiting = made {}
    assert.is_truthy(keel("runs", "output", waiting).errors:find "it has not started; %-%-follow waits for it")
  end)

  it("neither waits for nor shows what is no plain file", function()
    assert.equal(0, os.execute(("mkfifo %s/stdout"):format(folder)) and 0)
    local done = keel("runs", "output", (made { logs_path = folder }))
    assert.equal(1, done.code)
    assert.is_truthy(done.errors:find "cannot read .*/stdout: Invalid argument", done.errors)
  end)

  it("ends when nobody reads", function()
    files.write(folder .. "/stdout", ("x"):rep(1 << 20))
    local run_id = made { logs_path = folder }
    local child = command.start({ "runs", "output", "-f", run_id }, { env = env, prefix = { "sh", "-c",
      [["$@" | head -c 1; echo]], "sh" } })
    child:expect "x"
    assert.equal(0, (child:wait()))
  end)

  it("is not removed through a copy of the store, or one that stands in its place", function()
    local id = keel("exec", "-d", "-t", "t", "echo", "x").output:match "%S+"
    keel("runs", "wait", id)
    local kept = kernel.json.decode(keel("runs", "show", id, "--json").output).logs_path
    assert(os.execute(("cp '%s' '%s.copy' && mv '%s' '%s.moved'"):format(path, path, path, path)))
    assert.equal(0, keel("runs", "prune", "--keep-last", "0", "--store", path .. ".copy").code)
    assert.equal(0, keel("exec", "true").code)
    assert.equal(0, keel("runs", "prune", "--keep-last", "0").code)
    assert.is_true(files.exists(kept .. "/output"))
    local other = lfs.mkdir(kept:match "^(.*)/" .. "/other") and kept:match "^(.*)/" .. "/other"
    lfs.mkdir(other .. "/folder") -- what is nobody's keeps nothing else from going
    assert.equal(1, keel("runs", "prune", "--keep-last", "0", "--store", path .. ".moved").code)
    assert.is_false(files.exists(kept .. "/output"))
  end)

  it("is removed by prune when its run is gone, and only then", function()
    local ids = {}
    for i = 1, 3 do
      ids[i] = keel("exec", "-d", "-t", "t" .. i, "echo", "x").output:match "%S+"
      keel("runs", "wait", ids[i])
    end
    local store = support.open(path)
    local kept = store:get(ids[1]).logs_path:match "^(.*)/"
    lfs.mkdir(kept:match "^(.*)/" .. "/another")
    lfs.mkdir(kept:match "^(.*)/" .. "/another/run")
    assert(store:delete(ids[1]))
    local done = keel("runs", "prune", "--before", "1d", "--json")
    assert.equal(1, kernel.json.decode(done.output).outputs)
    assert.is_false(files.exists(kept .. "/" .. ids[1] .. "/output"))
    assert.is_true(files.exists(kept .. "/" .. ids[2] .. "/output"))
    assert.equal("directory", lfs.attributes(kept:match "^(.*)/" .. "/another/run", "mode")) -- another store's
    done = keel("runs", "prune", "--keep-last", "0")
    assert.is_truthy(done.output:find "2 runs, .*, 2 outputs\n", done.output)
    assert.is_falsy(lfs.attributes(kept .. "/" .. ids[2]))
  end)
end)
