--- keel exec under load: many at once, and killed at every stage.
local command = require "support.command"
local files = require "support.files"
local lfs = require "lfs"
local process = require "support.process"
local support = require "support"
local uv = require "luv"

local ROOT = debug.getinfo(1, "S").source:match "^@(.-)spec/cli/[^/]*$"

-- Runs the torture of keel exec (tests/torture).
local function torture(...)
  local child = support.spawn([[
    arg = { [0] = ..., select(2, ...) }
    dofile(arg[0])
  ]], { ROOT .. "tests/torture/exec.lua", ... }, { env = { KEEL_PROGRAM = command.program } })
  process.turn_until(function() return child.code end, 120000)
  local code, _, output = child:wait()
  assert(code == 0, output .. child.errors)
  assert.is_truthy(output:find "; 0 wrong\n$", output)
end

describe("Many keel exec at once", function()
  after_each(support.clean_up)

  it("200 real commands from 8 shells on 5 threads: codes right, no overlap, none lost", function()
    torture()
  end)

  it("and killed at random, with their guardians and commands: none goes on, nobody else is hit", function()
    torture("--kills", 40, "--each", 10)
  end)

  -- SIGKILL at moments spread over the time that one takes: before the store is open, in admission, while it runs, at
  -- its end.
  it("killed at every stage: the thread is free at once, and no command goes on", function()
    local folder, path = support.dir(), support.path()
    local env = { KEEL_STORE = path }
    local stages, n = {}, 0
    local function now() return uv.hrtime() / 1e6 end
    local started = now()
    assert.equal(0, command.run({ "exec", "--durability", "normal", "-t", "t", "sleep", "0.02" }, { env = env }).code)
    local whole = now() - started
    for part = 0, 23 do
      n = n + 1
      local delay = math.floor(whole * part / 20)
      local child = command.start({ "exec", "--durability", "normal", "-t", "t", "-s", "enqueue", "--", "sh", "-c",
        ("echo $$ >%s/pid-%d; sleep 0.02 & wait; echo %d >>%s/done"):format(folder, n, n, folder) }, { env = env })
      process.turn_until(function() return child.code end, delay)
      if not child.code then child.handle:kill "sigkill" end
      process.turn_until(function() return child.code end)
      -- The next one must get through.
      local after = command.run({ "exec", "-t", "t", "-s", "enqueue", "--wait", "20", "true" }, { env = env })
      assert.equal(0, after.code, after.errors)
    end
    local store = support.open(path)
    for _, event in ipairs(support.events(store, { kinds = { "run_created" } })) do
      local row = store:get(event.run_id)
      local stage = row.status .. (row.started_at and " started" or "")
      stages[stage] = (stages[stage] or 0) + 1
    end
    assert.is_true(stages["error started"] > 0, "none was killed while it ran")
    assert.is_true(stages["success started"] >= n)
    assert.is_nil(stages["running started"])
    for i = 1, n do
      local pid = files.exists(folder .. "/pid-" .. i) and files.read(folder .. "/pid-" .. i):match "%d+"
      assert.is_falsy(pid and lfs.attributes("/proc/" .. pid .. "/exe"), "a command outlived its run")
    end
    assert.same({}, store:verify())
  end)

  -- SIGKILL on entering a system call, each one in turn: before a commit reaches the disk (the store's making,
  -- admission, start, end), before the command is started, and when its end was heard.
  it("killed between any two steps: its run is an orphan or not there at all, no command is left", function()
    if not os.execute "strace -f -o /dev/null true 2>/dev/null" then
      return pending "strace is not here, or may not trace"
    end
    local stages = {}
    for _, call in ipairs { "fdatasync", "sendmsg" } do
      local count = 0
      repeat
        count = count + 1
        local folder, path = support.dir(), support.path()
        local env = { KEEL_STORE = path }
        local child = command.start({ "exec", "-t", "t", "--", "sh", "-c",
          ("echo $$ >%s/pid; sleep 0.01; echo >%s/done"):format(folder, folder) }, { env = env, prefix = { "strace",
            "-o", "/dev/null", "-e", "trace=" .. call, "-e", ("inject=%s:signal=KILL:when=%d"):format(call, count) } })
        local code, signal = child:wait()
        assert.is_true(signal == 9 or code == 0, child.errors)
        local pid = files.exists(folder .. "/pid") and files.read(folder .. "/pid"):match "%d+"
        assert.is_true(process.poll_until(function()
          return not (pid and lfs.attributes("/proc/" .. pid .. "/exe"))
        end))
        local after = command.run({ "exec", "-t", "t", "-s", "enqueue", "--wait", "20", "true" }, { env = env })
        assert.equal(0, after.code, after.errors)
        local store = support.open(path)
        local runs = support.pluck(support.events(store, { kinds = { "run_created" } }), "run_id")
        local row = #runs == 2 and store:get(runs[1])
        local stage = not row and "no run" or row.stop_reason ~= "orphan_recovered" and row.status or
          not row.started_at and "not started" or not pid and "started, no command" or
          files.exists(folder .. "/done") and "command ended, not written" or "command running"
        stages[stage] = true
        assert.equal("success", store:get(runs[#runs]).status)
        assert.same({}, store:verify())
        store:close()
      until signal ~= 9
    end
    for _, stage in ipairs { "no run", "not started", "started, no command", "command ended, not written",
      "success" } do
      assert.is_true(stages[stage], stage)
    end
  end)

  -- The guardian of a keel exec.
  local function guardian_of(child)
    return files.read(("/proc/%d/task/%d/children"):format(child.pid, child.pid)):match "%d+"
  end

  it("robbed of its guardian: the command and its family die with it, and the run says so", function()
    local path = support.path()
    local env = { KEEL_STORE = path }
    local child = command.start({ "exec", "-t", "t", "--", "sh", "-c", "setsid sleep 30 & echo $$ $!; wait" },
      { env = env })
    local pid, far = child:hear():match "(%d+) (%d+)"
    os.execute("kill -9 " .. guardian_of(child))
    assert.equal(137, (child:wait()))
    assert.is_true(process.is_gone(pid) and process.is_gone(far))
    assert.equal("keel exec: its guardian was killed, and it with it\n", child.errors)
    local store = support.open(path, { readonly = true })
    local row = store:get(store:read_events().events[1].run_id)
    assert.same({ "error", 137 }, { row.status, row.exit_code })
    assert.equal(0, command.run({ "exec", "-t", "t", "true" }, { env = env }).code)
  end)

  it("killed together with its guardian: the command dies with them", function()
    local child = command.start({ "exec", "--", "sh", "-c", "echo $$; exec sleep 30" },
      { env = { KEEL_STORE = support.path() } })
    local pid = child:hear()
    os.execute(("kill -9 %d %s"):format(child.pid, guardian_of(child)))
    assert.is_true(process.poll_until(function() return process.is_gone(pid) end))
  end)

  it("killed in line: those behind it go on", function()
    local path = support.path()
    local env = { KEEL_STORE = path }
    local first = command.start({ "exec", "-t", "t", "--", "sh", "-c", "echo up; read line" }, { env = env })
    first:expect "up"
    local second = command.start({ "exec", "-t", "t", "-s", "enqueue", "true" }, { env = env })
    local store = support.open(path, { readonly = true })
    local function is_created(count)
      return process.poll_until(function()
        return #support.events(store, { kinds = { "run_created" } }) == count
      end)
    end
    assert.is_true(is_created(2))
    local third = command.start({ "exec", "-t", "t", "-s", "enqueue", "echo", "mine" }, { env = env })
    assert.is_true(is_created(3))
    second:kill()
    first:say "end"
    assert.equal(0, (third:wait()))
    assert.equal("mine\n", third.output)
  end)
end)
