--- keel exec and a store that keeps it waiting: it hears all the same.
local command = require "support.command"
local files = require "support.files"
local process = require "support.process"
local support = require "support"
local uv = require "luv"

-- Another process that holds the write lock until it is told to let go.
local function holder(path)
  local child = support.spawn([[
    local store = assert(keel.open(...))
    assert(store:transaction(function() say "held" hear() return true end))
  ]], { path })
  child:expect "held"
  return child
end

describe("keel exec hears at once", function()
  after_each(support.clean_up)

  for name, code in pairs { TERM = 143, INT = 130, HUP = 129 } do
    it("F-53: SIG" .. name .. " while somebody else holds the store's lock", function()
      local _, path, env = command.on_store()
      assert.equal(0, command.run({ "exec", "true" }, { env = env }).code)
      local other = holder(path)
      local child = command.start({ "exec", "--", "echo", "ran" }, { env = env })
      assert.is_true(process.poll_until(function() return uv.fs_stat(("/proc/%d/task/%d/children"):format(child.pid,
        child.pid)) and files.read(("/proc/%d/status"):format(child.pid)):find "SigBlk:%s*0*[1-9a-f]" end))
      local began = uv.hrtime()
      child.handle:kill("sig" .. name:lower())
      child:wait()
      assert.is_true(name == "INT" and child.signal == 2 or child.code == code)
      assert.is_true(uv.hrtime() - began < 2e9)
      assert.equal("", child.output)
      other:say "done"
    end)
  end

  it("F-53: SIGTERM while the outcome waits for the lock, and says that it is not written down", function()
    local _, path, env = command.on_store()
    local child = command.start({ "exec", "-t", "t", "--", "sh", "-c", "echo up; read line" }, { env = env })
    child:expect "up"
    local other = holder(path)
    child:say "end"
    child.pipes[1]:shutdown()
    assert.is_true(process.poll_until(function()
      return files.read(("/proc/%d/task/%d/children"):format(child.pid, child.pid)) == "" or
        not files.read(("/proc/%d/task/%d/children"):format(child.pid, child.pid)):find "%d+ %d+" and
        process.is_gone(files.read(("/proc/%d/task/%d/children"):format(child.pid, child.pid)):match "%d+")
    end))
    child.handle:kill "sigterm"
    assert.equal(143, (child:wait()))
    assert.equal("keel exec: the outcome (success) could not be written down: SIGTERM came while the store was busy\n",
      child.errors)
    other:say "done"
    other:finish()
    assert.equal(0, command.run({ "exec", "-t", "t", "-s", "enqueue", "--wait", "20", "true" }, { env = env }).code)
  end)

  -- A library of the test's, whose fdatasync does not return; it has the process do what a long statement does.
  it("F-53: SIGTERM while a call of the store is stuck: before its command, and with it", function()
    if not os.execute "command -v cc >/dev/null" then return pending "no compiler is here" end
    local folder = support.dir()
    files.write(folder .. "/stuck.c", [[
      #include <stdlib.h>
      #include <unistd.h>
      int fdatasync(int fd)
      {
        static int calls;
        if (++calls < atoi(getenv("STUCK_AT")))
          return 0;
        char mark = '!';
        (void)!write(2, &mark, 1);
        for (;;)
          ;
        return fd;
      }
    ]])
    assert(os.execute(("cc -shared -fPIC -o %s/stuck.so %s/stuck.c"):format(folder, folder)))
    for call = 1, 6, 5 do
      local child = command.start({ "exec", "--", "echo", "ran" }, { env = { KEEL_STORE = support.path(),
        LD_PRELOAD = folder .. "/stuck.so", STUCK_AT = tostring(call) } })
      assert.is_true(process.poll_until(function() return child.errors:find "!" or child.code end))
      if not child.code then
        child.handle:kill "sigterm"
        child:wait()
        assert.equal(15, child.signal)
      end
    end
  end)
end)
