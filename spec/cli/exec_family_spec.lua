--- keel exec and the processes of its command: whatever groups and sessions they make, and whoever they belong to.
local command = require "support.command"
local files = require "support.files"
local lfs = require "lfs"
local process = require "support.process"
local support = require "support"
local uv = require "luv"

local function eventually(what)
  assert.is_true(process.poll_until(what), "it did not happen")
end

local function last_run(path)
  local store <close> = support.open(path, { readonly = true })
  local created = support.events(store, { kinds = { "run_created" } })
  return store:get(created[#created].run_id), store
end

-- What starts `sleep` out of the command's group, with the command as its parent or not; each says the sleep's number.
local apart = {
  group = { "timeout", "30", "sh", "-c", "echo $$; exec sleep 30" },
  session = { "setsid", "sh", "-c", "echo $$; exec sleep 30" },
  deeper = { "sh", "-c", "timeout 30 sh -c 'echo $$; exec sleep 30'; echo never" },
  adopted = { "sh", "-c", "(setsid sh -c 'echo $$; exec sleep 30' &); sleep 30" },
}

describe("keel exec reaches a command that has left its group", function()
  after_each(support.clean_up)

  local function start(words, options)
    local path = support.path()
    local all = { "exec", "-t", "t", "--grace", "0.5", table.unpack(options or {}) }
    all[#all + 1] = "--"
    table.move(words, 1, #words, #all + 1, all)
    local child = command.start(all, { env = { KEEL_STORE = path } })
    return child, path, child:hear()
  end

  for how, words in pairs(apart) do
    it("F-28: with a timeout: " .. how, function()
      local child, path, pid = start(words, { "--timeout", "0.2" })
      assert.equal(124, (child:wait()))
      assert.is_true(process.is_gone(pid))
      assert.equal("timeout", last_run(path).status)
    end)

    it("F-28: with a cancel, and its thread is free only then: " .. how, function()
      local child, path, pid = start(words)
      local newcomer = command.run({ "exec", "-t", "t", "-s", "interrupt", "--", "sh", "-c",
        ("test -e /proc/%s/exe; echo $?"):format(pid) }, { env = { KEEL_STORE = path } })
      assert.same({ 0, "1\n" }, { newcomer.code, newcomer.output })
      assert.equal(143, (child:wait()))
    end)

    for _, name in ipairs { "TERM", "INT", "HUP" } do
      it(("F-28: with SIG%s: %s"):format(name, how), function()
        local child, path, pid = start(words)
        child.handle:kill("sig" .. name:lower())
        child:wait()
        assert.is_true(process.is_gone(pid))
        assert.same({ "interrupted", "SIG" .. name }, { last_run(path).status, last_run(path).stop_reason })
      end)
    end

    it("F-28: when keel is killed: " .. how, function()
      local child, path, pid = start(words)
      child:kill()
      -- Who comes next waits for its end, not beside it.
      local newcomer = command.run({ "exec", "-t", "t", "-s", "enqueue", "--wait", "20", "--", "sh", "-c",
        ("test -e /proc/%s/exe; echo $?"):format(pid) }, { env = { KEEL_STORE = path } })
      assert.same({ 0, "1\n" }, { newcomer.code, newcomer.output })
    end)
  end

  it("F-28: when keel is killed and its guardian takes its time, keeps the thread until nothing is left", function()
    local child, path, guardian = start { "sh", "-c", "echo $PPID; exec sleep 30" }
    uv.kill(math.tointeger(guardian), "sigstop")
    child:kill()
    local env = { KEEL_STORE = path }
    assert.equal(75, command.run({ "exec", "-t", "t", "--", "true" }, { env = env }).code)
    uv.kill(math.tointeger(guardian), "sigcont")
    local late = command.run({ "exec", "-t", "t", "-s", "enqueue", "--wait", "20", "--", "true" }, { env = env })
    assert.equal(0, late.code)
  end)

  it("F-28: kills what does not listen, and writes no end before it is gone", function()
    local words = { "setsid", "sh", "-c", "trap '' TERM; echo $$; while :; do sleep 1; done" }
    local child, path, pid = start(words, { "--timeout", "0.2" })
    assert.equal(124, (child:wait()))
    assert.is_true(process.is_gone(pid))
    assert.equal(137, last_run(path).exit_code)
  end)

  it("F-28: signals no stranger: neither the caller's group nor a daemon that was there before", function()
    local path = support.path()
    local shell = command.start({ "exec", "--timeout", "0.1", "--", "sh", "-c", "sleep 30 & sleep 30" },
      { env = { KEEL_STORE = path }, prefix = { "sh", "-c", [[sleep 30 >&- 2>&- & "$@"; echo "$? $!"]], "sh" } })
    local code, bystander = shell:hear():match "(%d+) (%d+)"
    assert.equal("124", code)
    assert.is_false(process.is_gone(bystander))
    assert.equal(0, (shell:wait()))
    os.execute("kill -9 " .. bystander)
  end)
end)

describe("keel exec of a command that becomes another user's", function()
  local NOBODY = 65534

  after_each(support.clean_up)

  -- A folder of nobody's, with a program in it that becomes root and does what it is told.
  local function prepared()
    if uv.getuid() ~= 0 then return nil end
    local folder = support.dir()
    assert(os.execute(("cp /usr/bin/setpriv %s/asroot && chmod 4755 %s/asroot && chown %d %s && chmod 755 %s"):format(
      folder, folder, NOBODY, folder, folder)))
    local options = { env = { KEEL_STORE = folder .. "/store", HOME = folder }, cwd = folder,
      prefix = { "setpriv", "--reuid", tostring(NOBODY), "--regid", tostring(NOBODY), "--clear-groups" } }
    local works = process.start({ "setpriv", "--reuid", tostring(NOBODY), "--clear-groups", folder .. "/asroot",
      "--reuid", "0", "true" })
    return works:wait() == 0 and folder, options
  end

  local function as_root(folder, ...)
    return folder .. "/asroot", "--reuid", "0", "--regid", "0", "--clear-groups", ...
  end

  it("F-58: killed meanwhile: the command holds the thread until it ends", function()
    local folder, options = prepared()
    if not folder then return pending "nobody here may become root by a set-user-id program" end
    local child = command.start({ "exec", "-t", "t", "--", as_root(folder, "sh", "-c", "echo up; read line") }, options)
    child:expect "up"
    os.execute("kill -9 " .. child.pid)
    process.turn_until(function() return child.code end)
    local refused = command.run({ "exec", "-t", "t", "--", "echo", "beside" }, options)
    assert.same({ 75, "" }, { refused.code, refused.output })
    child:say "end"
    local after = command.run({ "exec", "-t", "t", "-s", "enqueue", "--wait", "20", "--", "echo", "after" }, options)
    assert.same({ 0, "after\n" }, { after.code, after.output })
  end)

  it("F-58: says that its signals are refused, and waits for the end", function()
    local folder, options = prepared()
    if not folder then return pending "nobody here may become root by a set-user-id program" end
    local child = command.start({ "exec", "--timeout", "0.1", "--grace", "0.1", "-t", "t", "--",
      as_root(folder, "sh", "-c", "read line") }, options)
    local refused = "keel exec: signals for the command are refused: Operation not permitted; waiting until it ends\n"
    eventually(function() return child.errors == refused end)
    assert.equal(75, command.run({ "exec", "-t", "t", "true" }, options).code)
    child:say "end"
    assert.equal(124, (child:wait()))
    local row = last_run(folder .. "/store")
    assert.same({ "timeout", 0 }, { row.status, row.exit_code })
    assert.is_truthy(row.error:find("signals were refused: Operation not permitted", 1, true))
  end)
end)

describe("keel exec gives its command", function()
  after_each(support.clean_up)

  it("F-62: what systemd passes on to one process by its number, if it was keel's own", function()
    local _, _, env = command.on_store()
    local script = "echo $(($LISTEN_PID == $$)) $(($WATCHDOG_PID == $$))"
    local own = { env = env, prefix = { "sh", "-c", 'export LISTEN_FDS=1 LISTEN_PID=$$ WATCHDOG_PID=$$; exec "$@"',
      "sh" } }
    assert.equal("1 1\n", command.run({ "exec", "--", "sh", "-c", script }, own).output)
    assert.equal("1 1\n1 1\n", command.run({ "exec", "--attempts", "2", "--delay", "0", "--", "sh", "-c",
      script .. "; exit 1" }, own).output)
    local other = { env = env, prefix = { "env", "LISTEN_PID=1", "WATCHDOG_PID=1" } }
    assert.equal("1 1\n", command.run({ "exec", "--", "sh", "-c", "echo $LISTEN_PID $WATCHDOG_PID" }, other).output)
  end)

  it("F-56: the treatment of signals that keel was given itself", function()
    local _, _, env = command.on_store()
    local ignored = "grep -E 'SigIgn|SigBlk' /proc/self/status"
    for _, traps in ipairs { "", "trap '' XFSZ; ", "trap '' ALRM; ", "trap '' CHLD; " } do
      local plain = process.start { "sh", "-c", traps .. ignored }
      plain:wait()
      local shell = { env = env, prefix = { "sh", "-c", traps .. 'exec "$@"', "sh" } }
      assert.equal(plain.output, command.run({ "exec", "--", "sh", "-c", ignored }, shell).output)
    end
  end)
end)

describe("keel exec where the system refuses", function()
  after_each(support.clean_up)

  it("F-63: a call that it needs to watch over a command: says so, and runs nothing", function()
    if not os.execute "strace -f -o /dev/null true 2>/dev/null" then
      return pending "strace is not here, or may not trace"
    end
    local folder = support.dir()
    for call, step in pairs { waitid = "waitid", setsid = "nothing", prctl = false, socketpair = false,
      rt_sigprocmask = false, signalfd4 = false, setpgid = "nothing" } do
      local traced = { "timeout", "20", "strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" .. call, "-e",
        ("inject=%s:error=EPERM"):format(call) }
      local result = command.run({ "exec", "--", "touch", folder .. "/" .. call },
        { env = { KEEL_STORE = support.path() }, prefix = traced })
      if step == "nothing" then
        assert.same({ 0, "" }, { result.code, result.errors })
      else
        assert.equal(1, result.code, call)
        assert.equal(("keel exec: cannot watch over a command: %sOperation not permitted\n"):format(
          step and step .. ": " or ""), result.errors)
        assert.is_nil(lfs.attributes(folder .. "/" .. call))
      end
    end
  end)

  it("F-64: nothing to stand in for a closed input: runs all the same", function()
    if not os.execute "unshare -rm true 2>/dev/null" then return pending "no name space of mounts may be made" end
    local result = command.run({ "exec", "--", "sh", "-c", "echo ran" }, { env = { KEEL_STORE = support.path() },
      prefix = { "unshare", "-rm", "sh", "-c", [[mount -t tmpfs none /dev && "$@" <&-]], "sh" } })
    assert.same({ code = 0, output = "ran\n", errors = "" }, result)
  end)
end)

describe("keel exec under a limit of files", function()
  after_each(support.clean_up)

  it("F-56: tells of a full store, wherever the limit is met #files", function()
    for _, limit in ipairs { 1, 4, 8, 40, 64, 100 } do -- of half a kibibyte
      local result = command.run({ "exec", "--json", "true" }, { env = { KEEL_STORE = support.path() },
        prefix = { "sh", "-c", ('ulimit -f %d; exec "$@"'):format(limit), "sh" } })
      assert.equal(1, result.code)
      assert.is_truthy(result.errors:find('"code":"store_full"', 1, true), limit .. ": " .. result.errors)
    end
  end)
end)

describe("keel exec keeps what is not UTF-8", function()
  after_each(support.clean_up)

  it("F-32: arguments and folders, escaped, so that retry turns them back", function()
    local exec, path, env = command.on_store()
    local folder = support.dir() .. "/d\xE9\\x41"
    assert(lfs.mkdir(folder))
    local script = 'printf "%s|" "$@"; pwd; test -e ok'
    local first = command.run({ "exec", "-t", "t", "--", "sh", "-c", script, "caf\xE9", "\\x\xFF\\" , "\\" },
      { env = env, cwd = folder })
    local said = ("\\x\xFF\\|\\|%s\n"):format(folder)
    assert.same({ code = 1, output = said, errors = "" }, first)
    local run = last_run(path)
    assert.is_true(run.kwargs.escaped)
    assert.same({ "caf\\xe9", "\\\\x\\xff\\\\", "\\\\" }, table.move(run.kwargs.command, 4, 6, 1, {}))
    files.write(folder .. "/ok", "")
    local again = exec("runs", "retry", "--yes", run.run_id)
    assert.same({ code = 0, output = said, errors = "" }, again)
    assert.same(run.kwargs, last_run(path).kwargs)
    assert.equal(0, exec("runs", "list").code)
    assert.equal(0, exec("exec", "/bin/sh", "-c", "exit 0", "\xFF").code)
    assert.equal(127, exec("exec", "./caf\xE9").code)
  end)

  it("F-32: a current folder that was removed", function()
    local folder = support.dir() .. "/gone"
    assert(lfs.mkdir(folder))
    local path = support.path()
    local result = command.run({ "exec", "-t", "t", "--", "echo", "ran" }, { env = { KEEL_STORE = path }, cwd = folder,
      prefix = { "sh", "-c", [[rmdir "$PWD"; exec "$@"]], "sh" } })
    assert.same({ 0, "ran\n" }, { result.code, result.output })
    assert.equal(folder, last_run(path).kwargs.directory)
    local again = command.run({ "runs", "retry", "--yes", last_run(path).run_id }, { env = { KEEL_STORE = path } })
    assert.is_truthy(again.errors:find(("cannot go to %s, where it ran"):format(folder), 1, true))
    assert(lfs.mkdir(folder))
    again = command.run({ "runs", "retry", "--yes", last_run(path).run_id }, { env = { KEEL_STORE = path } })
    assert.equal("ran\n", again.output)
  end)
end)
