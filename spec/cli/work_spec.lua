--- keel runs create and keel work: commands that one process works off, under the supervision of keel exec.
local command = require "support.command"
local files = require "support.files"
local json = require("keel").json
local keel = require "keel"
local lfs = require "lfs"
local process = require "support.process"
local support = require "support"
local uv = require "luv"

describe("[#sqlite] keel work", function()
  local run, path, env, folder

  before_each(function()
    folder = support.dir()
    run, path, env = command.on_store { XDG_STATE_HOME = folder .. "/state", F = folder }
  end)
  after_each(support.clean_up)

  -- Puts a command in line; its id.
  local function create(...)
    local done = run("runs", "create", "--durability", "normal", ...)
    assert.same({ 0, "" }, { done.code, done.errors })
    return assert(done.output:match "^(%S+)\n$")
  end

  local function work(...)
    return command.start({ "work", "--durability", "normal", ... }, { env = env })
  end

  local function row_of(run_id)
    local store <close> = assert(keel.open(path, { readonly = true, create = false }))
    return (assert(store:get(run_id)))
  end

  local function wait_for(run_id)
    assert.are_not.equal(124, run("runs", "wait", "--timeout", "20", run_id, "--quiet").code)
    return row_of(run_id)
  end

  local function wait_for_file(name)
    assert.is_true(process.poll_until(function()
      return files.exists(folder .. "/" .. name) and files.read(folder .. "/" .. name):find "\n"
    end), name)
    return files.read(folder .. "/" .. name):match "^[^\n]*"
  end

  local function stop(child)
    child.handle:kill "sigterm"
    assert.equal(0, (child:wait()), child.errors)
  end

  local function fifo(name)
    assert(os.execute(("mkfifo %s/%s"):format(folder, name)))
  end

  it("runs what was put in line, where it was put in line, and keeps its output", function()
    local before = create("--", "sh", "-c", "pwd; echo error >&2; cat")
    local child = work()
    local after = create("--", "sh", "-c", "exit 3")
    assert.same({ "success", 0, "command" }, { wait_for(before).status, row_of(before).exit_code,
      row_of(before).handler })
    assert.same({ "error", 3, "exit code 3" }, { wait_for(after).status, row_of(after).exit_code,
      row_of(after).error })
    assert.equal(lfs.currentdir() .. "\nerror\n", run("runs", "output", before).output)
    assert.equal(folder .. "/state/keel/output/", row_of(before).logs_path:sub(1, #folder + 19))
    stop(child)
    assert.is_truthy(child.output:find("running  " .. before, 1, true))
    assert.is_truthy(child.output:find("success  " .. before, 1, true))
    assert.is_truthy(child.output:find("error  " .. after, 1, true))
  end)

  it("takes what is a command only, and no more at a time than it may", function()
    local store = support.open(path)
    local runs = support.manager(store)
    local other = assert(runs:create("other", { claimable = true, handler = "other" }))
    local plain = assert(runs:create("plain", { claimable = true }))
    local ids = {}
    for i = 1, 5 do ids[i] = create("-t", "t" .. i, "--", "sh", "-c", "sleep 0.05") end
    local child = work("--concurrency", "2", "--json")
    for i = 1, 5 do assert.equal("success", wait_for(ids[i]).status) end
    stop(child)
    assert.same({ "pending", "pending" }, { store:get(other.run_id).status, store:get(plain.run_id).status })
    local told = {}
    for line in child.output:gmatch "[^\n]+" do
      local fields = json.decode(line)
      told[fields.status] = (told[fields.status] or 0) + 1
      assert.is_nil(fields.error)
    end
    assert.same({ running = 5, success = 5 }, told)
    local running, most = 0, 0
    for _, event in ipairs(support.events(store, { kinds = { "run_started", "run_finished" } })) do
      running = running + (event.kind == "run_started" and 1 or -1)
      most = math.max(most, running)
    end
    assert.equal(2, most)
  end)

  it("tries again what has failed, after a while", function()
    local run_id = create("--attempts", "2", "--", "sh", "-c",
      "echo try; test -e $F/tried || { touch $F/tried; exit 4; }")
    local child = work()
    assert.same({ "success", 2 }, { wait_for(run_id).status, row_of(run_id).attempt })
    stop(child)
    assert.equal("try\ntry\n", run("runs", "output", run_id).output)
    local failed = support.events(support.open(path), { kinds = { "attempt_failed" } })
    assert.same({ attempt = 1, exit_code = 4, error = "exit code 4" }, failed[1].data)
  end)

  it("ends what takes too long, and what is cancelled, with all that it started", function()
    local late = create("--timeout", "0.2", "--", "sh", "-c", "sleep 30 & echo $! >$F/late; wait")
    local cancelled = create("--", "sh", "-c", "setsid sleep 30 & echo $! >$F/cancelled; wait")
    local child = work()
    assert.same({ "timeout", 143 }, { wait_for(late).status, row_of(late).exit_code })
    local pid = wait_for_file "cancelled"
    assert.equal(0, run("runs", "cancel", cancelled).code)
    assert.same({ "interrupted", 143 }, { wait_for(cancelled).status, row_of(cancelled).exit_code })
    assert.is_true(process.is_gone(pid))
    assert.is_true(process.is_gone(wait_for_file "late"))
    stop(child)
  end)

  it("says of what cannot be run why, and goes on", function()
    local store = support.open(path)
    local runs = support.manager(store)
    local function wrong(kwargs)
      return assert(runs:create("wrong", { claimable = true, handler = "command", kwargs = kwargs })).run_id
    end
    local child = work()
    local none = create("--", "no-such-command-here")
    assert.same({ "error", 127, "not_started" }, { wait_for(none).status, row_of(none).exit_code,
      row_of(none).error_code })
    for _, case in ipairs {
      { {}, "kwargs.command must be a list" },
      { { command = { "a\0b" }, directory = "/" }, "zero byte" },
      { { command = { "true" }, directory = "/nowhere" }, "cannot go to /nowhere: No such file" },
    } do
      local row = wait_for(wrong(case[1]))
      assert.same({ "error", "not_started" }, { row.status, row.error_code })
      assert.is_truthy(row.error:find(case[2], 1, true), row.error)
    end
    stop(child)
  end)

  it("makes the runs of a schedule when they are due, and works them off", function()
    assert.equal(0, run("cron", "add", "often", "@every 1s", "--", "sh", "-c", "echo >$F/scheduled").code)
    local child = work()
    wait_for_file "scheduled"
    stop(child)
  end)

  it("killed, leaves no command behind; the next one runs it again", function()
    fifo "go"
    local run_id = create("--", "sh", "-c", "echo $$ >>$F/pids; echo $$ >$F/pid; read line <$F/go; echo $line")
    local child = work()
    local pid = wait_for_file "pid"
    -- The guardian, stopped, cannot end the command: for so long the run has its owner, and nobody runs it beside.
    local guardian = files.read(("/proc/%s/stat"):format(pid)):match "%) %a (%d+)"
    os.execute("kill -STOP " .. guardian)
    child:kill()
    assert.equal("", run("reconcile").output)
    assert.equal("running", row_of(run_id).status)
    os.execute("kill -CONT " .. guardian)
    assert.is_true(process.poll_until(function() return process.is_gone(pid) end))
    os.remove(folder .. "/pid")
    child = work()
    assert.are_not.equal(pid, wait_for_file "pid")
    files.write(folder .. "/go", "on\n")
    assert.equal("success", wait_for(run_id).status)
    stop(child)
    assert.equal("on\n", run("runs", "output", run_id).output)
  end)

  it("whose helper is killed, has the run until nothing of the command is left", function()
    local run_id = create("--", "sh", "-c", "echo $PPID >$F/guardian; exec sleep 30")
    local child = work()
    local guardian = math.tointeger(wait_for_file "guardian")
    local helper = files.read(("/proc/%d/status"):format(guardian)):match "PPid:%s*(%d+)"
    uv.kill(guardian, "sigstop")
    uv.kill(math.tointeger(helper), "sigkill")
    process.poll_until(function() return process.is_gone(helper) end, 5000)
    -- That takes its time: what was to be seen of the helper's end has been seen.
    assert.equal("success", wait_for(create("-t", "other", "--", "true")).status)
    assert.equal("running", row_of(run_id).status)
    uv.kill(guardian, "sigcont")
    assert.equal("error", wait_for(run_id).status)
    stop(child)
  end)

  it("puts off what it cannot begin for reasons of its own, and spends no attempt", function()
    local child = work()
    local first = wait_for(create("--", "true"))
    stop(child)
    local run_id = create("-t", "b", "--", "true")
    local in_the_way = first.logs_path:match "^(.*)/" .. "/" .. run_id
    files.write(in_the_way, "")
    child = work()
    assert.is_true(process.turn_until(function() return child.errors:find "tried again later: cannot keep" end))
    process.poll_until(function() return row_of(run_id).snoozes == 1 end)
    assert.same({ "pending", 1 }, { row_of(run_id).status, row_of(run_id).attempt })
    assert(os.remove(in_the_way))
    assert.equal("success", wait_for(run_id).status)
    stop(child)
  end)

  it("goes on when nobody reads what it says", function()
    local child = command.start({ "work", "--durability", "normal" }, { env = env,
      prefix = { "sh", "-c", "mkfifo $F/out; (read line <$F/out) & exec \"$@\" >$F/out", "sh" } })
    assert.equal("success", wait_for(create("-t", "a", "--", "true")).status)
    assert.equal("success", wait_for(create("-t", "b", "--", "true")).status)
    child.handle:kill "sigterm"
    assert.equal(1, (child:wait())) -- not all could be said
  end)

  it("leaves signals alone that were ignored when it was started, as by nohup", function()
    local child = command.start({ "work", "--durability", "normal" }, { env = env,
      prefix = { "sh", "-c", "trap '' HUP; exec \"$@\"", "sh" } })
    local run_id = create("--", "sh", "-c", "echo >$F/up; exec sleep 0.3")
    wait_for_file "up"
    child.handle:kill "sighup"
    assert.equal("success", wait_for(run_id).status)
    assert.equal("success", wait_for(create("-t", "b", "--", "true")).status)
    stop(child)
  end)

  it("asked to stop, takes no more and lets the running end", function()
    fifo "go"
    local running = create("-t", "a", "--", "sh", "-c", "echo >$F/up; read line <$F/go")
    local child = work("--concurrency", "1")
    wait_for_file "up"
    local waiting = create("-t", "b", "true")
    child.handle:kill "sigterm"
    assert.is_true(process.turn_until(function() return child.errors:find "stopping: 1 command may end within 30s" end))
    files.write(folder .. "/go", "on\n")
    assert.equal(0, (child:wait()))
    assert.same({ "success", "pending" }, { row_of(running).status, row_of(waiting).status })
  end)

  it("asked twice, ends what runs and gives it back; three times, kills it", function()
    local polite = create("-t", "a", "--", "sh", "-c",
      "trap 'echo >$F/asked; exit 1' TERM; echo >$F/up; sleep 30 & wait")
    local stubborn = create("-t", "b", "--", "sh", "-c", "trap '' TERM; echo $$ >$F/pid; while :; do sleep 1; done")
    local child = work("--concurrency", "2", "--grace", "60")
    wait_for_file "up"
    local pid = wait_for_file "pid"
    child.handle:kill "sigterm"
    assert.is_true(process.turn_until(function() return child.errors:find "stopping: 2 commands" end))
    child.handle:kill "sigint"
    wait_for_file "asked"
    assert.is_false(process.is_gone(pid))
    child.handle:kill "sigterm"
    assert.equal(0, (child:wait()), child.errors)
    assert.is_true(process.is_gone(pid))
    -- No attempt is spent, and nothing is held against them.
    for _, run_id in ipairs { polite, stubborn } do
      local row = row_of(run_id)
      assert.same({ "pending", 1 }, { row.status, row.attempt or 1 })
    end
  end)

  it("starts by its unit for systemd, which leaves the stopping to it", function()
    local unit = files.read(command.root .. "examples/systemd/keel-work.service")
    local words = {}
    for word in unit:match "\nExecStart=keel ([^\n]*)":gmatch "%S+" do words[#words + 1] = word end
    assert.is_truthy(unit:find "\nKillMode=mixed\n")
    local child = command.start(words, { env = env })
    assert.is_true(process.turn_until(function() return child.errors:find "working off" end))
    stop(child)
  end)

  it("F-55: runs nothing from a store that is another user's, or that others may write to", function()
    create("touch", folder .. "/ran")
    assert(uv.fs_chmod(path, tonumber("666", 8)))
    local done = run("work")
    assert.equal(1, done.code)
    assert.is_truthy(done.errors:find("others may write to " .. path, 1, true), done.errors)
    assert(uv.fs_chmod(path, tonumber("600", 8)))
    if uv.getuid() == 0 then
      assert(uv.fs_chown(path, 65534, 65534))
      done = run("work")
      assert.equal(1, done.code)
      assert.is_truthy(done.errors:find("belongs to user 65534: its commands are run by nobody else", 1, true))
    end
    assert.is_false(files.exists(folder .. "/ran"))
  end)
end)

describe("[#sqlite] keel runs create", function()
  local run
  before_each(function() run = command.on_store() end)
  after_each(support.clean_up)

  it("takes the options that a run keeps, and refuses wrong ones", function()
    local first = json.decode(run("runs", "create", "--json", "--key", "k", "-t", "t", "--", "true").output).run_id
    assert.same({ run_id = first, reused = true },
      json.decode(run("runs", "create", "--json", "--key", "k", "-t", "t", "--", "true").output))
    assert.equal(75, run("runs", "create", "-t", "t", "true").code)
    local second = run("runs", "create", "--after", first, "--in", "1h", "--timeout", "5m", "--priority", "3", "true")
    local row = json.decode(run("runs", "show", "--json", second.output:match "%S+").output)
    assert.same({ 300, 3, "command", true }, { row.timeout, row.priority, row.handler, row.claimable })
    for _, case in ipairs {
      { "which command? Write: keel runs create [OPTION …] [--] COMMAND [ARGUMENT …]" },
      { "unknown option '--keep'", "--keep", "/tmp", "true" },
      { "unknown strategy nosuch", "-s", "nosuch", "true" },
    } do
      local done = run("runs", "create", table.unpack(case, 2))
      assert.equal(2, done.code)
      assert.is_truthy(done.errors:find(case[1], 1, true), done.errors)
    end
  end)

  it("runs retry puts such a command in line again", function()
    local run_id = run("runs", "create", "false").output:match "%S+"
    assert.equal(0, run("runs", "cancel", run_id).code)
    local done = run("runs", "retry", run_id)
    assert.equal(0, done.code, done.errors)
    local row = json.decode(run("runs", "show", "--json", done.output:match "%S+").output)
    assert.same({ "pending", "command", run_id }, { row.status, row.handler, row.retry_of })
    assert.equal(2, run("runs", "retry", "--wait", "1", run_id).code)
    local other = run("runs", "create", "-t", "other", "false").output:match "%S+"
    assert.equal(0, run("runs", "cancel", row.run_id, other).code)
    done = run("runs", "retry", row.run_id, other)
    assert.same({ 0, 2 }, { done.code, select(2, done.output:gsub("%S+\n", "")) }, done.errors)
  end)
end)
