--- How keel exec ends: by what signal, what it shows then, and whom it tells.
local command = require "support.command"
local files = require "support.files"
local json = require("keel").json
local process = require "support.process"
local support = require "support"

describe("[#sqlite] keel exec", function()
  local run, env, folder

  before_each(function()
    folder = support.dir()
    local _
    run, _, env = command.on_store { XDG_STATE_HOME = folder .. "/state", F = folder }
  end)
  after_each(support.clean_up)

  local function exec(...) return run("exec", "--durability", "normal", ...) end

  local function text_of(name)
    return files.exists(folder .. "/" .. name) and files.read(folder .. "/" .. name)
  end

  describe("--stop-signal", function()
    local HEARS = [[for s in INT TERM USR1; do trap "echo $s >>$F/heard; exit 1" $s; done
      echo >$F/up; while :; do sleep 0.02; done]]

    it("ends a command that takes too long by that signal", function()
      for _, name in ipairs { "INT", "sigusr1" } do
        os.remove(folder .. "/heard")
        assert.equal(124, exec("--timeout", "0.3", "--stop-signal", name, "sh", "-c", HEARS).code)
        assert.equal(name:upper():gsub("SIG", "") .. "\n", text_of "heard")
      end
    end)

    it("ends one that is cancelled by it, also in the background", function()
      local run_id = exec("--detach", "--stop-signal", "USR1", "sh", "-c", HEARS).output:match "%S+"
      assert.is_true(process.poll_until(function() return text_of "up" end))
      assert.equal(0, run("runs", "cancel", run_id).code)
      run("runs", "wait", run_id)
      assert.equal("USR1\n", text_of "heard")
    end)

    it("is a name of one", function()
      for _, name in ipairs { "TERN", "9", "" } do
        local done = exec("--stop-signal", name, "true")
        assert.equal(2, done.code)
        assert.is_truthy(done.errors:find("option '--stop-signal': '" .. name ..
          "' is no signal to end by; write TERM, INT, HUP", 1, true), done.errors)
      end
    end)
  end)

  describe("--quiet-unless-failed", function()
    it("shows nothing of a command that succeeds, and keeps it", function()
      local done = exec("--quiet-unless-failed", "sh", "-c", "echo out; echo err >&2")
      assert.same({ 0, "", "" }, { done.code, done.output, done.errors })
      local kept = run("runs", "output", "@")
      assert.same({ "out\n", "err\n" }, { kept.output, kept.errors })
    end)

    it("shows all of one that fails, of all attempts, each stream where it belongs", function()
      local done = exec("--quiet-unless-failed", "--attempts", "2", "--delay", "0", "sh", "-c",
        "echo out; echo err >&2; exit 3")
      assert.same({ 3, "out\nout\n", "err\nerr\n" }, { done.code, done.output, done.errors })
      done = exec("--quiet-unless-failed", "--timeout", "0.2", "sh", "-c", "echo late; sleep 30")
      assert.same({ 124, "late\n" }, { done.code, done.output })
    end)

    it("shows what --keep keeps, and makes no sense in the background", function()
      local done = exec("--quiet-unless-failed", "--keep", folder .. "/logs", "sh", "-c", "echo out; exit 3")
      assert.same({ 3, "out\n" }, { done.code, done.output })
      done = exec("--quiet-unless-failed", "--detach", "true")
      assert.same({ 2, "" }, { done.code, done.output })
      assert.is_truthy(done.errors:find "%-%-quiet%-unless%-failed is for the foreground")
    end)
  end)

  describe("--notify", function()
    it("has a command of the shell told the run, when it has ended", function()
      assert.equal(3, exec("--notify", "cat >$F/told", "-t", "t", "sh", "-c", "exit 3").code)
      local told = json.decode(text_of "told")
      assert.same({ "error", 3, "t", "exit code 3" }, { told.status, told.exit_code, told.thread_id, told.error })
      assert.is_string(told.ended_at)
      -- The run had ended, and its thread was free.
      assert.equal(0, exec("--notify", command.program .. " exec -t t touch $F/free", "-t", "t", "true").code)
      assert.is_string(text_of "free")
    end)

    it("its failure is told, and changes nothing", function()
      for _, case in ipairs { { 0, "true" }, { 1, "false" } } do
        local done = exec("--notify", "exit 7", case[2])
        assert.equal(case[1], done.code)
        assert.equal("keel exec: --notify 'exit 7' has failed: exit code 7\n", done.errors)
      end
      local done = command.run({ "exec", "--notify", "exit 7", "true" }, { env = env, prefix = { "perl", "-e",
        [[$SIG{CHLD} = "IGNORE"; exec @ARGV]] } })
      assert.same({ 0, "keel exec: --notify 'exit 7' has failed: exit code 7\n" }, { done.code, done.errors })
      -- It need not read what it is given, however long that is.
      assert.equal(0, exec("--notify", "exec <&-", "--metadata", json.encode { long = ("x"):rep(60000) }, "true").code)
    end)

    it("is told of a run in the background, and of one that never started", function()
      local run_id = exec("--detach", "--notify", "cat >$F/told.new; mv $F/told.new $F/told", "true").output:match "%S+"
      assert.is_true(process.poll_until(function() return text_of "told" end))
      assert.equal(run_id, json.decode(text_of "told").run_id)
      local holder = command.start({ "exec", "-t", "t", "--", "sh", "-c", "echo up; read line" }, { env = env })
      holder:expect "up"
      assert.equal(75, exec("-t", "t", "-s", "enqueue", "--wait", "0", "--notify", "cat >$F/told", "true").code)
      local told = json.decode(text_of "told")
      assert.same({ "interrupted", "gave up waiting" }, { told.status, told.stop_reason })
      os.remove(folder .. "/told")
      assert.equal(75, exec("-t", "t", "--notify", "touch $F/told", "true").code) -- refused: there is no run
      assert.is_false(text_of "told")
      holder:say ""
      holder:wait()
    end)

    it("is not told of a run of before, which its key gives", function()
      assert.equal(0, exec("--key", "k", "true").code)
      assert.equal(0, exec("--key", "k", "--notify", "touch $F/told", "true").code)
      assert.is_false(text_of "told")
    end)
  end)
end)
