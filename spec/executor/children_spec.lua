--- Real processes of real handlers: their output, and that none outlives its run.
local keel = require "keel"
local executors = require "support.executor"
local process = require "support.process"
local support = require "support"
local uv = require "luv"

describe("A process of a handler", function()
  local store, runs

  before_each(function()
    store = support.open ":memory:"
    runs = support.manager(store)
  end)
  after_each(executors.clean_up)
  after_each(support.clean_up)

  -- Runs a handler in an executor; gives the record when it has ended.
  local function run(handler)
    local record = assert(runs:create "t")
    executors.started(runs, handler)
    executors.await(function() return record.status ~= "pending" and record.status ~= "running"
      and not record.finalizing end, "the end")
    executors.clean_up()
    if record.error then error(record.error, 2) end
    return record
  end

  -- The result of a command.
  local function result_of(command)
    local result
    run(function(context) result = assert(context.spawn(command)):wait() end)
    return result
  end

  local function is_alive(pid) return uv.kill(pid, 0) == 0 end

  it("says what it has to say, and how it ended", function()
    assert.same({ code = 3, signal = 0, output = "out\n", errors = "err\n", dropped = 0 },
      result_of "echo out; echo err >&2; exit 3")
    assert.same({ code = 0, signal = 0, output = "a b\n", errors = "", dropped = 0 }, result_of { "echo", "a b" })
    assert.equal(15, result_of("kill -TERM $$").signal)
  end)

  it("gets its input, folder and environment", function()
    assert.equal("hello", result_of({ "cat", input = "hello" }).output)
    assert.equal("", result_of({ "cat" }).output)
    local folder = support.dir()
    assert.equal(folder .. "\n", result_of({ "pwd", cwd = folder }).output)
    assert.equal("yes\n", result_of({ "/bin/sh", "-c", "echo $COLOUR $HOME",
      env = { COLOUR = "yes", HOME = false } }).output)
    local big = ("x"):rep(1000000)
    assert.equal(#big, #result_of({ "cat", input = big }).output)
  end)

  it("need not read its input, whatever the program does about SIGPIPE", function()
    local script = [[
      local uv = require "luv"
      local runs, seen = keel.run_manager { store = ":memory:" }, {}
      local executor = keel.executor { manager = runs, handlers = function(context)
        local children = {}
        for i = 1, 3 do children[i] = assert(context.spawn { "true", input = ("x"):rep(2000000) }) end
        for i = 1, 3 do seen[i] = children[i]:wait().code end
      end }
      local function disposition()
        for line in io.lines "/proc/self/status" do
          if line:find "^SigIgn" or line:find "^SigCgt" then io.write(line:match "(%x)%x%x%x$", " ") end
        end
      end
      runs:create "t"
      disposition()
      executor:drain()
      uv.run "nowait"
      disposition()
      say(table.concat(seen, ","))]]
    -- The bit of SIGPIPE in the masks of what is ignored and what is caught, before and after.
    local expected = { ["trap - PIPE"] = "0 0 0 0 0,0,0", ["trap '' PIPE"] = "1 0 1 0 0,0,0" }
    for trap, said in pairs(expected) do
      local child = support.spawn(script, {}, { prefix = { "sh", "-c", trap .. '; exec "$@"', "sh" } })
      assert.equal(said, child:hear())
    end
  end)

  it("has its last words kept, as many as were asked for", function()
    local result = result_of { "/bin/sh", "-c", "seq 1 20000", max_output = 12 }
    assert.same({ "19999\n20000\n", true }, { result.output, result.dropped > 100000 })
    assert.same({ "", "" }, (function(r) return { r.output, r.errors } end)(
      result_of { "/bin/sh", "-c", "echo x", output = "ignore" }))
  end)

  it("takes no more room than its last words, however much it says", function()
    run(function(context)
      collectgarbage()
      local before = collectgarbage "count"
      local child = assert(context.spawn { "/bin/sh", "-c", "head -c 20000000 /dev/zero; echo done; sleep 60",
        max_output = 1000 })
      while child._output():sub(-5) ~= "done\n" do context.sleep(0.01) end
      collectgarbage()
      assert.is_true(collectgarbage "count" - before < 2000)
      child:kill "sigkill"
      assert.equal(1000, #child:wait().output)
    end)
  end)

  it("cannot be what is not there", function()
    run(function(context)
      support.refused("io", context.spawn { "/no/such/command" })
      local nowhere = support.refused("io", context.spawn { "true", cwd = "/no/such/folder" })
      assert.truthy(nowhere.message:find("cannot start true in /no/such/folder: ", 1, true))
      support.raises("colour", context.spawn, { "true", colour = 1 })
      support.raises("output", context.spawn, { "true", output = "loud" })
      support.raises("word", context.spawn, {})
      support.raises("word 2 has a zero byte", context.spawn, { "echo", "a\0b" })
      support.raises("word 1 has a zero byte", function() return context.spawn { "true\0" } end)
      support.raises("word 2 is a table", context.spawn, { "echo", {} })
    end)
    assert.equal(0, #runs:list_by_thread("t")[1].metadata)
  end)

  it("is ended with its group when the run is cancelled: TERM first", function()
    local child, told
    local record = assert(runs:create "t")
    executors.started(runs, function(context)
      child = assert(context.spawn [[trap 'echo bye; exit 7' TERM; sleep 100 & echo $!; while :; do wait; done]])
      told = child:wait()
      assert(context.cancelled())
    end)
    executors.await(function() return child and child._output():find "\n" end, "the process")
    local grandchild = tonumber(child._output():match "%d+")
    assert.is_true(is_alive(grandchild))
    assert(runs:cancel(record.run_id))
    executors.await(function() return not record.finalizing end, "settling")
    assert.same({ 7, true }, { told.code, told.output:find "bye" ~= nil })
    executors.await(function() return process.is_gone(grandchild) end, "the grandchild's end")
  end)

  it("is killed after the grace when it is deaf, and the run is not settled before", function()
    local child, started
    local record = assert(runs:create "t")
    executors.started(runs, function(context)
      child = assert(context.spawn "trap '' TERM; echo ready; while :; do sleep 0.01; done")
      return child:wait() and nil
    end, { kill_grace = 0.15 })
    executors.await(function() return child and child._output() ~= "" end, "the process")
    started = uv.hrtime()
    assert(runs:cancel(record.run_id))
    executors.await(function() return not record.finalizing end, "settling")
    assert.is_true((uv.hrtime() - started) / 1e9 >= 0.14)
    assert.same({ 9, true }, { child.signal, process.is_gone(child.pid) })
    assert.is_false(child:kill())
  end)

  it("gets the signals that its handler sends, and the handler hears whether it was there", function()
    local sent, code, again
    run(function(context)
      local child = assert(context.spawn "trap 'exit 7' USR1; echo ready; while :; do sleep 0.01; done")
      while child._output() == "" do context.sleep(0.01) end
      sent = child:kill "sigusr1"
      code = child:wait().code
      again = child:kill()
    end)
    assert.same({ true, 7, false }, { sent, code, again })
  end)

  it("does not outlive its handler, nor does what it has left in its group", function()
    local child, left
    run(function(context)
      child = assert(context.spawn "sleep 100")
      left = tonumber(assert(context.spawn "sleep 100 >/dev/null 2>&1 & echo $!"):wait().output)
    end)
    assert.same({ 15, true }, { child.signal, process.is_gone(child.pid) })
    executors.await(function() return process.is_gone(left) end, "the end of what was left")
  end)

  it("holds nobody up with pipes that a daemon keeps open", function()
    local result = result_of "setsid sleep 3 & echo started"
    assert.equal("started\n", result.output)
  end)

  it("is not started for a run that is to stop", function()
    local told
    local record = assert(runs:create "t")
    executors.started(runs, function(context)
      context.sleep(60)
      told = select(2, context.spawn "true")
    end)
    executors.await(function() return record.task end, "the start")
    runs:cancel(record.run_id)
    executors.await(function() return told end, "the refusal")
    assert.equal("cancelled", told.code)
  end)

  it("is killed when the executor leaves and the handler does not", function()
    local child
    assert(runs:create "t")
    local executor = executors.started(runs, function(context)
      child = assert(context.spawn "trap '' TERM; echo ready; while :; do sleep 0.01; done")
      child:wait()
    end, { kill_grace = 60 })
    executors.await(function() return child and child._output() ~= "" end, "the process")
    assert.equal(1, #assert(executor:stop { timeout = 0.05, drain = false }).interrupted)
    assert.same({ 9, true }, { child.signal, process.is_gone(child.pid) })
    assert.is_string(keel.version)
  end)
end)
