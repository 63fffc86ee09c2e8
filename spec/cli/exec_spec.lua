--- keel exec: any command as a durable run.
local command = require "support.command"
local files = require "support.files"
local keel = require "keel"
local lfs = require "lfs"
local process = require "support.process"
local support = require "support"
local uv = require "luv"

-- The runs of a store, oldest first, by their creation events.
local function runs_of(path)
  local store = support.open(path)
  local runs = {}
  for _, event in ipairs(support.events(store, { kinds = { "run_created" } })) do
    runs[#runs + 1] = store:get(event.run_id)
  end
  return runs, store
end

local function only_run(path)
  local runs, store = runs_of(path)
  assert.equal(1, #runs)
  return runs[1], store
end

local function eventually(what)
  assert.is_true(process.poll_until(what), "it did not happen")
end

describe("keel exec passes through", function()
  after_each(support.clean_up)

  it("input, output, errors and the exit code, and keeps the outcome", function()
    local _, path, env = command.on_store()
    local result = command.run({ "exec", "--", "sh", "-c", "cat; echo bad >&2; exit 7" }, { env = env }, "good\n")
    assert.same({ code = 7, output = "good\n", errors = "bad\n" }, result)
    local run = only_run(path)
    assert.equal("error", run.status)
    assert.equal(7, run.exit_code)
    assert.equal("exit code 7", run.error)
    assert.same({ "sh", "-c", "cat; echo bad >&2; exit 7" }, run.kwargs.command)
    assert.equal(lfs.currentdir(), run.kwargs.directory)
  end)

  it("options of the command behind its name, with -- and without", function()
    local exec = command.on_store()
    assert.equal("-n --store\n", exec("exec", "echo", "-n --store").output)
    assert.equal("--json", exec("exec", "--thread", "t", "printf", "%s", "--json").output)
    assert.equal("-- --help\n", exec("exec", "--", "echo", "--", "--help").output)
  end)

  it("success", function()
    local exec, path = command.on_store()
    local result = exec("exec", "--user", "u", "--metadata", '{"a":[1]}', "--thread", "t", "true")
    assert.same({ code = 0, output = "", errors = "" }, result)
    local run = only_run(path)
    assert.same({ "success", 0, "u", "t", { a = { 1 } } },
      { run.status, run.exit_code, run.user_id, run.thread_id, run.metadata })
  end)

  it("success of a command whose name is too long for a thread's, or has what no id may have", function()
    local exec, path = command.on_store()
    local folder = support.dir()
    for _, name in ipairs { "a" .. ("é"):rep(50), "a\u{9B}b\tc" } do
      assert(lfs.link("/bin/true", folder .. "/" .. name, true))
      assert.same({ code = 0, output = "", errors = "" }, exec("exec", folder .. "/" .. name))
    end
    local runs = runs_of(path)
    assert.equal("exec/a" .. ("é"):rep(31), runs[1].thread_id:match "^(.*)%-")
    assert.equal("exec/a?b?c", runs[2].thread_id:match "^(.*)%-")
  end)

  it("bytes of any kind, as many as there are", function()
    local _, _, env = command.on_store()
    local bytes = {}
    for i = 0, 255 do bytes[#bytes + 1] = string.char(i):rep(i + 1) end
    local text = table.concat(bytes):rep(40)
    for _, keep in ipairs { false, support.dir() } do
      local words = keep and { "exec", "--keep", keep, "cat" } or { "exec", "cat" }
      local result = command.run(words, { env = env }, text)
      assert.is_true(result.code == 0 and result.output == text)
    end
  end)

  it("what is closed, closed, and writes into no file of its own for it", function()
    local _, path, env = command.on_store()
    local folder = support.dir()
    local function run(redirections, ...)
      local shell = { prefix = { "sh", "-c", '"$@" ' .. redirections, "sh" }, env = env }
      return command.run({ "exec", ... }, shell)
    end
    assert.equal("0\n", run("<&-", "sh", "-c", "test -e /proc/self/fd/0; echo $((1 - $?))").output)
    for _, words in ipairs { { "sh", "-c", "echo out; echo err >&2; exit 3" },
      { "--keep", folder, "sh", "-c", "echo out; echo err >&2; exit 3" }, { "--json", "sh", "-c", "exit 3" } } do
      assert.equal(3, run("<&- >&- 2>&-", table.unpack(words)).code)
    end
    local runs, store = runs_of(path)
    assert.equal("out\nerr\n", files.read(runs[3].logs_path .. "/stdout") .. files.read(runs[3].logs_path .. "/stderr"))
    assert.same({}, store:verify())
  end)

  it("the end by a signal", function()
    local exec, path = command.on_store()
    assert.equal(128 + 9, exec("exec", "--", "sh", "-c", "kill -9 $$").code)
    local run = only_run(path)
    assert.same({ "error", "ended by SIGKILL", 137 }, { run.status, run.error, run.exit_code })
  end)

  it("signals, to the command, and is interrupted with it", function()
    local _, path, env = command.on_store()
    local child = command.start({ "exec", "--", "sh", "-c",
      "trap 'echo usr' USR1; (trap '' USR1; exec sleep 30) & sleep 0.2; echo up; wait; wait" }, { env = env })
    child:expect "up"
    child.handle:kill "sigusr1"
    child:expect "usr"
    child.handle:kill "sigterm"
    assert.equal(128 + 15, (child:wait()))
    local run = only_run(path)
    assert.same({ "interrupted", "SIGTERM" }, { run.status, run.stop_reason })
  end)

  for how, ended in pairs { ["exit 0"] = { 0, "success" }, ["exit 4"] = { 4, "interrupted", "SIGTERM" } } do
    it("F-11: a stop, with attempts left: none is spent, and the command says whether it was done: " .. how, function()
      local _, path, env = command.on_store()
      local child = command.start({ "exec", "--attempts", "3", "--delay", "0", "--", "sh", "-c",
        ("trap '%s' TERM; echo up; sleep 30 & wait"):format(how) }, { env = env })
      child:expect "up"
      child.handle:kill "sigterm"
      local code = child:wait()
      local run, store = only_run(path)
      assert.same({ ended[1], ended[1], ended[2], 1 }, { code, run.exit_code, run.status, run.attempt })
      assert.equal(ended[3], run.stop_reason)
      assert.equal(0, #support.events(store, { kinds = { "attempt_failed" } }))
    end)
  end

  it("a signal that comes together with the end of the command, as when both are told", function()
    local _, path, env = command.on_store()
    local child = command.start({ "exec", "--", "sh", "-c", "echo $$; exec sleep 30" }, { env = env })
    local pid = math.tointeger(child:hear())
    child.handle:kill "sigstop"
    uv.kill(pid, "sigterm")
    eventually(function() return process.is_gone(pid) end)
    child.handle:kill "sigterm"
    child.handle:kill "sigcont"
    assert.equal(128 + 15, (child:wait()))
    local run = only_run(path)
    assert.same({ "interrupted", "SIGTERM" }, { run.status, run.stop_reason })
  end)

  it("a hangup that is ignored, as under nohup", function()
    local _, _, env = command.on_store()
    local child = command.start({ "exec", "--", "sh", "-c", "echo up; sleep 0.3; echo still" },
      { env = env, prefix = { "sh", "-c", "trap '' HUP; exec \"$@\"", "sh" } })
    child:expect "up"
    child.handle:kill "sighup"
    child:expect "still"
    assert.equal(0, (child:wait()))
  end)

  it("an interrupt: it dies of it, so that a script stops", function()
    local _, path, env = command.on_store()
    local child = command.start({ "exec", "--", "sh", "-c", "echo up; exec sleep 30" }, { env = env })
    child:expect "up"
    child.handle:kill "sigint"
    local _, signal = child:wait()
    assert.equal(2, signal)
    assert.equal("interrupted", only_run(path).status)
  end)

  it("what cannot be run: 127 when there is no such command, 126 when it may not", function()
    local exec, path = command.on_store()
    local missing = exec("exec", "no-such-command")
    assert.equal(127, missing.code)
    assert.equal("keel exec: cannot run no-such-command: No such file or directory\n", missing.errors)
    assert.equal(126, exec("exec", "/").code)
    for _, run in ipairs(runs_of(path)) do
      assert.same({ "error", "not_started" }, { run.status, run.error_code })
    end
  end)
end)

describe("keel exec ends", function()
  after_each(support.clean_up)

  it("what takes too long: SIGTERM, exit code 124", function()
    local exec, path = command.on_store()
    local result = exec("exec", "--timeout", "0.2", "sleep", "30")
    assert.equal(124, result.code)
    assert.equal("keel exec: timed out: it took longer than 0.2 s\n", result.errors)
    local run = only_run(path)
    assert.same({ "timeout", 143 }, { run.status, run.exit_code })
    assert.equal("", exec("exec", "--quiet", "--timeout", "0.1", "sleep", "30").errors)
  end)

  it("what has stopped itself, which goes on to hear of it", function()
    local exec, path = command.on_store()
    local result = exec("exec", "--timeout", "0.2", "--grace", "3", "--", "sh", "-c",
      "trap 'echo told; exit 3' TERM; kill -STOP $$; sleep 30")
    assert.same({ 124, "told\n" }, { result.code, result.output })
    assert.equal(3, only_run(path).exit_code)
  end)

  it("what was asked to stop, with a code of its own though the command makes nothing of it", function()
    local _, path, env = command.on_store()
    local child = command.start({ "exec", "--", "sh", "-c", "trap 'exit 0' TERM; echo on; sleep 30 & wait" },
      { env = env })
    child:hear()
    local store = support.open(path)
    local run_id = support.events(store, { kinds = { "run_created" } })[1].run_id
    assert(store:request_cancel(run_id))
    assert.equal(143, (child:wait()))
    assert.same({ "interrupted", 0 }, { store:get(run_id).status, store:get(run_id).exit_code })
  end)

  it("what does not listen to SIGTERM: SIGKILL after the grace, with all its children", function()
    local exec, path = command.on_store()
    local result = exec("exec", "--timeout", "0.2", "--grace", "0.2", "--", "sh", "-c",
      "trap '' TERM; sleep 30 & echo $!; wait; sleep 30")
    assert.equal(124, result.code)
    assert.is_true(process.is_gone(result.output:match "%d+"))
    assert.equal(137, only_run(path).exit_code)
  end)

  it("what the command leaves behind in its group, but no daemon of its own session", function()
    local exec = command.on_store()
    local result = exec("exec", "--", "sh", "-c",
      "sleep 30 >&- 2>&- & echo $!; setsid sh -c 'echo $$; exec sleep 30 >&- 2>&-' & sleep 0.2")
    local left, daemon = result.output:match "(%d+)\n(%d+)"
    assert.equal(0, result.code)
    assert.is_true(process.is_gone(left))
    assert.is_false(process.is_gone(daemon))
    os.execute("kill -9 " .. daemon)
  end)

  it("with the command when it is killed: its run is an orphan, and nothing of it outlives it", function()
    local _, path, env = command.on_store()
    local child = command.start({ "exec", "--thread", "t", "--", "sh", "-c", "sleep 30 & echo $! $$; wait" },
      { env = env })
    local grandchild, pid = child:hear():match "(%d+) (%d+)"
    child:kill()
    eventually(function() return process.is_gone(grandchild) and process.is_gone(pid) end)
    local run, store = only_run(path)
    assert.equal("running", run.status)
    -- The guardian holds it until the last of them is gone.
    eventually(function() return store:session_alive(run.session_id) == false end)
    store:close()
    assert.equal(0, command.run({ "exec", "--thread", "t", "true" }, { env = env }).code) -- recovers it
    local runs = runs_of(path)
    assert.same({ "error", "orphan_recovered", "success" }, { runs[1].status, runs[1].stop_reason, runs[2].status })
  end)
end)

describe("keel exec on a busy thread", function()
  after_each(support.clean_up)

  local env, path

  -- Starts a command that runs until it is told to end, on the thread t.
  local function occupy(...)
    local words = { "exec", "--thread", "t", ... }
    table.move({ "--", "sh", "-c", "echo up; read line; echo done" }, 1, 5, #words + 1, words)
    local child = command.start(words, { env = env })
    child:expect "up"
    return child
  end

  before_each(function()
    local _
    _, path, env = command.on_store()
  end)

  it("is refused with 75 by default", function()
    local first = occupy()
    local result = command.run({ "exec", "--thread", "t", "true" }, { env = env })
    assert.equal(75, result.code)
    assert.is_truthy(result.errors:find "^keel exec: thread t is busy with run [%x-]+[^\n]*\n$")
    assert.equal(0, command.run({ "exec", "--thread", "other", "true" }, { env = env }).code)
    first:say "end"
    assert.equal(0, (first:wait()))
    assert.equal(0, command.run({ "exec", "--thread", "t", "true" }, { env = env }).code)
  end)

  it("is refused when the same command runs, without a thread named", function()
    local words = { "exec", "--", "sh", "-c", "echo up; read line" }
    local first = command.start(words, { env = env })
    first:expect "up"
    assert.equal(75, command.run(words, { env = env }).code)
    assert.equal(0, command.run({ "exec", "true" }, { env = env }).code)
  end)

  it("waits in line with enqueue, and starts when it is free", function()
    local first = occupy()
    local second = command.start({ "exec", "-t", "t", "-s", "enqueue", "echo", "mine" },
      { env = env })
    assert.is_false(process.turn_until(function() return second.output ~= "" end, 300))
    first:say "end"
    assert.equal(0, (second:wait()))
    assert.equal("mine\n", second.output)
    local runs = runs_of(path)
    assert.is_true(runs[2].started_at >= runs[1].ended_at)
  end)

  it("waits no longer than --wait", function()
    occupy()
    local result = command.run({ "exec", "-t", "t", "-s", "enqueue", "--wait", "0.2", "true" }, { env = env })
    assert.equal(75, result.code)
    assert.matches("was not started within 0.2 s: as many runs as may run on its thread do, among them ",
      result.errors, 1, true)
    assert.same({ "interrupted", "gave up waiting" }, { runs_of(path)[2].status, runs_of(path)[2].stop_reason })
  end)

  it("leaves the line when it is told to", function()
    occupy()
    local second = command.start({ "exec", "-t", "t", "-s", "enqueue", "true" }, { env = env })
    eventually(function() return #runs_of(path) == 2 end)
    second.handle:kill "sigterm"
    assert.equal(128 + 15, (second:wait()))
    assert.same({ "interrupted", "SIGTERM" }, { runs_of(path)[2].status, runs_of(path)[2].stop_reason })
  end)

  it("takes the place of a killed one in line", function()
    local first = occupy()
    local second = command.start({ "exec", "-t", "t", "-s", "enqueue", "echo", "mine" }, { env = env })
    eventually(function() return #runs_of(path) == 2 end)
    first:kill()
    assert.equal(0, (second:wait()))
    assert.equal("mine\n", second.output)
  end)

  it("interrupts what runs: SIGTERM first, and it waits until that has ended", function()
    local first = command.start({ "exec", "-t", "t", "--", "sh", "-c",
      "trap 'echo tidy; sleep 0.3; echo tidied; exit 5' TERM; echo up; sleep 30 & wait" }, { env = env })
    first:expect "up"
    local second = command.run({ "exec", "-t", "t", "-s", "interrupt", "true" }, { env = env })
    assert.equal(0, second.code)
    local code, _, output = first:wait()
    assert.same({ 5, "tidy\ntidied\n" }, { code, output })
    assert.is_truthy(first.errors:find "asked to stop")
    local runs = runs_of(path)
    assert.same({ "interrupted", 5, "success" }, { runs[1].status, runs[1].exit_code, runs[2].status })
    assert.is_true(runs[2].started_at >= runs[1].ended_at)
  end)

  it("rolls back: the run that gives way is an error", function()
    local first = occupy()
    assert.equal(0, command.run({ "exec", "-t", "t", "-s", "rollback", "true" }, { env = env }).code)
    assert.equal(143, (first:wait()))
    assert.same({ "error", "rolled back" }, { runs_of(path)[1].status, runs_of(path)[1].error })
  end)

  it("gives way when somebody else has ended its run, whose record stays as it is", function()
    local first = occupy()
    local runs, store = runs_of(path)
    assert(store:update_status(runs[1].run_id, "success"))
    assert.equal(143, (first:wait()))
    assert.equal("keel exec: the run was taken over by somebody else\n", first.errors)
    assert.equal("success", store:get(runs[1].run_id).status)
  end)

  it("is cancelled in line, and says so", function()
    occupy()
    local second = command.start({ "exec", "-t", "t", "-s", "replace_pending", "true" }, { env = env })
    eventually(function() return #runs_of(path) == 2 end)
    local third = command.start({ "exec", "-t", "t", "-s", "replace_pending", "true" }, { env = env })
    assert.equal(75, (second:wait()))
    assert.is_truthy(second.errors:find "was not started: run [%x-]+ took its place")
    third.handle:kill "sigterm"
    third:wait()
  end)

  it("shares the run with the same work under reuse, and its exit code", function()
    local words = { "exec", "-t", "t", "-s", "reuse", "--", "sh", "-c", "echo up; read line; exit 9" }
    local first = command.start(words, { env = env })
    first:expect "up"
    local second = command.start(words, { env = env })
    -- Nothing tells that it waits; one that came too late would run a command of its own, and never end.
    process.turn_until(function() return false end, 2000)
    first:say "end"
    assert.equal(9, (first:wait()))
    assert.equal(9, (second:wait()))
    assert.equal("", second.output)
    assert.equal(1, #runs_of(path))
  end)

  it("takes a strategy from a file, and options for it", function()
    local folder = support.dir()
    files.write(folder .. "/at_most.lua", [[
      return function(request, inflight)
        return { admit = #inflight < request.options.most, reason = "enough" }
      end]])
    local words = { "exec", "-t", "t", "-s", folder .. "/at_most.lua", "--set", "most=2", "true" }
    occupy()
    assert.equal(0, command.run(words, { env = env }).code)
    words[7] = "most=1"
    local result = command.run(words, { env = env })
    assert.equal(75, result.code)
    assert.is_truthy(result.errors:find("enough", 1, true))
    assert.equal("at_most", runs_of(path)[2].multitask_strategy)
  end)

  it("lets nothing that a strategy says act on the terminal", function()
    local name = support.dir() .. "/rude.lua"
    local words = { "exec", "-t", "t", "-s", name, "true" }
    local said = [["\27[31mred\xc2\x9b\nsecond\xff"]]
    for source, code in pairs { ["{ admit = false, reason = %s }"] = 75, ["error(%s)"] = 1 } do
      if code == 75 then said = said:gsub("\\xff", "") end
      files.write(name, "return function() return " .. source:format(said) .. " end")
      local result = command.run(words, { env = env })
      assert.equal(code, result.code)
      assert.matches("^keel exec: [^%c\xc2]+ %[31mred ; second%??\n$", result.errors)
    end
  end)
end)

describe("keel exec", function()
  after_each(support.clean_up)

  it("tries again up to --attempts times, and each failed attempt is in the log", function()
    local exec, path = command.on_store()
    local folder = support.dir()
    local script = ("echo x >>%s/n; test $(wc -l <%s/n) -ge 3"):format(folder, folder)
    assert.equal(0, exec("exec", "--attempts", "5", "--delay", "0.05", "--", "sh", "-c", script).code)
    local run, store = only_run(path)
    assert.same({ "success", 3, 5 }, { run.status, run.attempt, run.max_attempts })
    local failed = support.events(store, { kinds = { "attempt_failed" } })
    assert.same({ 1, 2 }, { failed[1].data.attempt, failed[2].data.attempt })
    assert.same({}, support.events(store, { kinds = { "run_rescheduled" } }))
    store:close()
    assert.equal(1, exec("exec", "-t", "2", "--attempts", "2", "--delay", "0", "false").code)
    assert.equal(127, exec("exec", "-t", "3", "--attempts", "100", "no-such-command").code) -- not worth another try
  end)

  it("tries again what it had to end: what took too long, what left something in its group", function()
    local exec, path = command.on_store()
    local failures = { { "sleep 30", 124 }, { "sleep 30 >&- 2>&- & exit 3", 3 } }
    for number, case in ipairs(failures) do
      local words = { "exec", "-t", tostring(number), "--timeout", "0.2", "--attempts", "2", "--delay", "0", "--", "sh",
        "-c", "echo x; " .. case[1] }
      local result = exec(table.unpack(words))
      assert.same({ case[2], "x\nx\n" }, { result.code, result.output })
      assert.equal(2, runs_of(path)[number].attempt)
    end
  end)

  describe("between two attempts", function()
    -- A command that has failed once and would be tried again a minute later.
    local function waiting()
      local _, path, env = command.on_store()
      local words = { "exec", "--attempts", "2", "--delay", "60", "--", "sh", "-c", "exit 3" }
      local child = command.start(words, { env = env })
      local store = support.open(path)
      eventually(function() return support.events(store, { kinds = { "attempt_failed" } })[1] ~= nil end)
      return child, store, support.events(store, { kinds = { "run_created" } })[1].run_id
    end

    it("ends by a signal as the command would", function()
      for _, case in ipairs { { "sigterm", { 143, 0 }, "SIGTERM" }, { "sigint", { 0, 2 }, "SIGINT" } } do
        local child, store, run_id = waiting()
        child.handle:kill(case[1])
        local code, signal = child:wait()
        assert.same(case[2], { code, signal })
        local run = store:get(run_id)
        assert.same({ "interrupted", case[3], 3 }, { run.status, run.stop_reason, run.exit_code })
        assert.is_nil(run.error)
      end
    end)

    it("doubles from try to try", function()
      local exec, path = command.on_store()
      assert.equal(3, exec("exec", "--attempts", "4", "--delay", "0.01", "--", "sh", "-c", "exit 3").code)
      local store <close> = support.open(path, { readonly = true })
      local delays = {}
      for i, event in ipairs(support.events(store, { kinds = { "attempt_failed" } })) do
        delays[i] = event.data.delay
      end
      assert.same({ 0.01, 0.02, 0.04 }, delays)
    end)

    it("ends when it is asked to stop, and says so", function()
      local ends = { interrupt = { "interrupted", nil, 3 }, rollback = { "error", "rolled back", 3 } }
      for action, expected in pairs(ends) do
        local child, store, run_id = waiting()
        assert(store:request_cancel(run_id, { action = action }))
        assert.equal(143, (child:wait()))
        assert.equal("keel exec: the run was asked to stop\n", child.errors)
        local run = store:get(run_id)
        assert.same(expected, { run.status, run.error, run.exit_code })
      end
    end)
  end)

  it("runs once for a key, and gives the first outcome ever after", function()
    local exec, path = command.on_store()
    local folder = support.dir()
    local words = { "exec", "--key", "k", "--", "sh", "-c", ("echo x >>%s/n; exit 4"):format(folder) }
    assert.equal(4, exec(table.unpack(words)).code)
    local again = exec(table.unpack(words))
    assert.equal(4, again.code)
    assert.is_truthy(again.errors:find "ended as error: exit code 4")
    assert.equal("x\n", files.read(folder .. "/n"))
    only_run(path)
    local other = exec("exec", "--key", "k", "true")
    assert.equal(1, other.code)
    assert.is_truthy(other.errors:find("k", 1, true))
  end)

  it("F-24: with --until success runs again for a key until it has succeeded", function()
    local exec, path = command.on_store()
    local folder = support.dir()
    local words = { "exec", "--key", "k", "--until", "success", "--", "sh", "-c",
      ("echo x >>%s/n; test $(wc -l <%s/n) -ge 2"):format(folder, folder) }
    for _, code in ipairs { 1, 0, 0 } do assert.equal(code, exec(table.unpack(words)).code) end
    assert.equal("x\nx\n", files.read(folder .. "/n"))
    assert.equal(2, #support.open(path):list_runs())
  end)

  it("ends by SIGPIPE what nobody reads any more, kept or not, and passes on the exit code", function()
    local _, _, env = command.on_store()
    local shell = { prefix = { "bash", "-c", '"$@" | head -n 1; echo "${PIPESTATUS[0]}"', "bash" }, env = env }
    for _, keep in ipairs { false, support.dir() } do
      for script, code in pairs { ["exec seq 1000000"] = 141, ["trap '' PIPE; seq 1000000 2>&-; exit 9"] = 9 } do
        local words = { "exec", "sh", "-c", script }
        if keep then table.insert(words, 2, "--keep=" .. keep) end
        assert.equal(("1\n%d\n"):format(code), command.run(words, shell).output)
      end
    end
  end)

  it("keeps the output in files, and shows it too #files", function()
    local exec, path = command.on_store()
    local folder = support.dir() .. "/kept"
    local result = exec("exec", "--keep", folder, "--", "sh", "-c", "echo out; echo err >&2; seq 100000")
    assert.equal(0, result.code)
    assert.equal("err\n", result.errors)
    local run = only_run(path)
    assert.equal(folder .. "/" .. run.run_id, run.logs_path)
    assert.equal(result.output, files.read(run.logs_path .. "/stdout"))
    assert.equal(100001, select(2, result.output:gsub("\n", "\n")))
    assert.equal("err\n", files.read(run.logs_path .. "/stderr"))
    assert.equal("rw-------", lfs.attributes(run.logs_path .. "/stdout", "permissions"))
    local refused = exec("exec", "--keep", path, "true")
    assert.same({ 1, ("keel exec: cannot keep the output in %s: File exists\n"):format(path) },
      { refused.code, refused.errors })
  end)

  it("F-29: goes on keeping what cannot be shown, and showing what cannot be kept, and tells of both", function()
    local _, path, env = command.on_store()
    local folder = support.dir()
    local function run(script, code)
      local shell = { prefix = { "sh", "-c", script, "sh" }, env = env }
      return command.run({ "exec", "--quiet", "--keep", folder, "sh", "-c", "seq 500000; exit " .. (code or 9) }, shell)
    end
    local unshown = "keel exec: not all of the output could be shown: No space left on device\n"
    assert.same({ code = 9, output = "", errors = unshown }, run '"$@" >/dev/full')
    assert.same({ code = 1, output = "", errors = unshown }, run('"$@" >/dev/full', 0)) -- as it would be without --keep
    local runs, store = runs_of(path)
    store:close()
    assert.same({ "error", 0, unshown:match ": (.*)\n" }, { runs[2].status, runs[2].exit_code, runs[2].error })
    assert.equal("error", runs[1].status)
    local whole = files.read(runs[1].logs_path .. "/stdout")
    assert.is_truthy(whole:find "^1\n.*\n500000\n$")
    assert.same({ code = 9, output = whole,
      errors = "keel exec: not all of the output could be kept: File too large\n" },
      run [[ulimit -f 2048; exec "$@"]])
  end)

  it("F-30: ends with its command when nobody reads what is kept: by a timeout, by a cancel, by itself", function()
    local _, path, env = command.on_store()
    local folder = support.dir()
    local function start(thread, script, ...)
      local shell = { env = env, prefix = { "bash", "-c",
        [["$@" | { read -r _; echo up; read -r _ <&3; wc -l; }; echo "${PIPESTATUS[0]}"]], "bash" } }
      local words = { "exec", "-t", thread, "--keep", folder, "--grace", "0.1", ... }
      shell.prefix[3] = "exec 3<&0; " .. shell.prefix[3]
      words[#words + 1] = "--"
      table.move({ "sh", "-c", script }, 1, 3, #words + 1, words)
      local child = command.start(words, shell)
      child:expect "up"
      return child
    end
    local function ends(thread, status)
      local store = support.open(path)
      eventually(function() return store:list_by_thread(thread, { limit = 1 })[1].status == status end)
      store:close()
      assert.equal(0, command.run({ "exec", "-t", thread, "true" }, { env = env }).code)
    end
    local timed = start("timed", "yes", "--timeout", "0.2")
    ends("timed", "timeout")
    local asked = start("asked", "yes")
    assert.equal(0, command.run({ "exec", "-t", "asked", "-s", "interrupt", "true" }, { env = env }).code)
    -- What fits into the pipe and the relay keeps nobody: then a late reader gets all of it.
    local done = start("done", "seq 20000")
    ends("done", "success")
    for child, code in pairs { [timed] = "124", [asked] = "143", [done] = "0" } do
      child:say "go on"
      local lines = child:hear()
      child:expect(code)
      assert.is_true(code ~= "0" or lines == "19999", lines)
    end
  end)

  it("gives the run as JSON on standard error", function()
    local exec, path = command.on_store()
    local result = exec("exec", "--json", "--", "sh", "-c", "exit 3")
    local run = keel.json.decode(result.errors)
    assert.same({ 3, only_run(path).run_id, "error" }, { run.exit_code, run.run_id, run.status })
  end)

  it("F-56: fails when the outcome cannot be written down, and says so, as JSON too #files", function()
    local _, _, env = command.on_store()
    local shell = { env = env }
    -- From then on the disk of keel, its guardian's parent, is full.
    local full = { "sh", "-c", "read -r _ _ _ keel _ </proc/$PPID/stat; prlimit --pid $keel --fsize=1" }
    for _, option in ipairs { "--quiet", "--json" } do
      local result = command.run({ "exec", option, table.unpack(full) }, shell)
      assert.same({ 1, "" }, { result.code, result.output })
      local message = result.errors:match "the outcome %(success%) could not be written down: [^\n\"]+"
      if option == "--quiet" then
        assert.equal("keel exec: " .. tostring(message) .. "\n", result.errors)
      else
        local record, failure = result.errors:match "^(%b{})\n(%b{})\n$"
        assert.equal("running", keel.json.decode(record).status)
        assert.same({ code = "store_full", message = message, transient = false }, keel.json.decode(failure).error)
      end
    end
  end)

  it("says with --quiet what went wrong, and not how the command did", function()
    local exec = command.on_store()
    assert.equal("", exec("exec", "--quiet", "--timeout", "0.01", "sleep", "60").errors)
    assert.equal("keel exec: cannot run ./none: No such file or directory\n", exec("exec", "--quiet", "./none").errors)
    assert.matches([[: cannot run $'./\x1b[2Jno': No such file]], exec("exec", "./\27[2Jno").errors, 1, true)
  end)

  it("refuses wrong input with 2, on one line, and makes no run", function()
    local exec = command.on_store()
    local wrong = {
      { "exec" }, { "exec", "--" }, { "exec", "--thread" }, { "exec", "--timeout", "soon", "true" },
      { "exec", "--timeout", "-1", "true" }, { "exec", "--attempts", "0", "true" },
      { "exec", "--attempts", "many", "true" }, { "exec", "--metadata", "[]", "true" },
      { "exec", "--metadata", "{", "true" }, { "exec", "--strategy", "enqeue", "true" },
      { "exec", "--strategy", "./none.lua", "true" }, { "exec", "--set", "max", "true" },
      { "exec", "--thread", "", "true" }, { "exec", "--user", "", "true" }, { "exec", "--key", "", "true" },
      { "exec", "--priority", "high", "true" }, { "exec", "--grace", "x", "true" }, { "exec", "--wait", "x", "true" },
      { "exec", "--quite", "true" }, { "exec", "--durability", "some", "true" },
      { "exec", "--thread", "\xff", "true" }, { "exec", "--strategy", "limit", "--set", "max=-1", "true" },
    }
    for _, words in ipairs(wrong) do
      local result = exec(table.unpack(words))
      local shown = table.concat(words, " ")
      assert.equal(2, result.code, shown)
      assert.is_truthy(result.errors:find "^keel exec: [^\n]+\n$", shown .. ": " .. result.errors)
      assert.equal("", result.output, shown)
    end
  end)

  it("names what to write instead", function()
    local exec = command.on_store()
    local advice = {
      [{ "--timeout", "5x" }] = "character 2 should be a unit: w, d, h, m or s; write 30, 1.5s, 10m, 1h30m, 1d or 2w",
      [{ "--attempts", "0" }] = "'0' is no whole number from 1 up",
      [{ "--priority", "high" }] = "'high' is no whole number",
      [{ "--metadata", "{" }] = 'write {"name": value}',
      [{ "--metadata", "[]" }] = 'write {"name": value}',
      [{ "--set", "max" }] = "write max=3",
      [{ "--strategy", "limit", "--set", "max=0" }] =
        "option '--set': strategy option 'max' must be a whole number from 1, got 0",
      [{ "--strategy", "limit", "--set", "max=no" }] = "'max' must be a whole number from 1, got 'no'",
      [{ "--strategy", "enqueue", "--set", "max_waiting=-1" }] = "'max_waiting' must be a whole number from 0, got -1",
      [{ "--strategy", "enqueue", "--set", "strict=1" }] = "'strict' must be true or false, got 1",
      [{ "--strategy", "limit", "--set", "maxx=2" }] = "unknown strategy option 'maxx'; did you mean 'max'?",
      [{ "--strategy", "limit", "--set", "colour=2" }] = "'colour'; strategy limit has max and max_waiting",
      [{ "--set", "max-waiting=2" }] = "unknown strategy option 'max_waiting'; strategy reject has none",
      [{ "--timeout", "0" }] = "leave the option out for no limit",
      [{ "--keep", "" }] = "option '--keep': it needs the name of a folder",
      [{ "--strategy", "enqeue" }] = "known are: allow, debounce, enqueue",
      [{ "--strategy", "./none.lua" }] = "./none.lua cannot be read",
      [{ "--thread", "" }] = "--thread must not be empty",
      [{ "--user", "" }] = "--user must not be empty",
      [{ "--key", "" }] = "--key must not be empty",
      [{ "--durability", "some" }] = "'full', 'normal', 'off'",
      [{ "--quite" }] = "did you mean '--quiet'?",
    }
    for words, text in pairs(advice) do
      local result = exec("exec", table.unpack(table.move({ "true" }, 1, 1, #words + 1, words)))
      assert.equal(2, result.code, text)
      assert.is_truthy(result.errors:find(text, 1, true), result.errors)
    end
    assert.equal(0, exec("exec", "--strategy", "enqueue", "--set", "strict=true", "true").code)
  end)
end)
