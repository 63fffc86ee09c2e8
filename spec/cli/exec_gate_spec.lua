--- keel exec: when, after what and beside how many others a command starts.
local command = require "support.command"
local gate = require "keel.cli.gate"
local kernel = require "keel.kernel"
local keel = require "keel"
local process = require "support.process"
local support = require "support"
local terminal = require "support.terminal"
local uv = require "luv"

-- What the value of an option is made of.
local function converted(name, text)
  for _, option in ipairs(gate.options) do
    if option[1] == name then return option.convert(text) end
  end
end

describe("the time of --at", function()
  local tz, now = os.getenv "TZ", kernel.now
  after_each(function()
    kernel.now = now
    if tz then uv.os_setenv("TZ", tz) else uv.os_unsetenv "TZ" end
  end)

  local function at(text, zone, time)
    uv.os_setenv("TZ", zone)
    kernel.now = function() return time end
    return converted("--at", text)
  end

  it("is today's or tomorrow's, by the system's zone", function()
    local summer = "2026-07-01T12:00:00+00:00" -- 14:00 in Berlin
    for text, expected in pairs { ["14:01"] = "2026-07-01T12:01:00", ["14:00"] = "2026-07-02T12:00:00",
      ["8:30"] = "2026-07-02T06:30:00", ["14:00:01"] = "2026-07-01T12:00:01", ["00:00"] = "2026-07-01T22:00:00" } do
      assert.equal(expected .. "+00:00", at(text, "Europe/Berlin", summer), text)
    end
    assert.equal("2026-12-01T22:00:00+00:00", at("22:00", "UTC", "2026-12-01T03:00:00+00:00"))
  end)

  it("is that of a date, by the system's zone or its own", function()
    for text, expected in pairs { ["2026-12-24T20:00"] = "2026-12-24T19:00:00", ["2026-12-24 20:00:30"] =
      "2026-12-24T19:00:30", ["2026-12-24T20:00Z"] = "2026-12-24T20:00:00", ["2026-12-24T20:00:00+05:30"] =
      "2026-12-24T14:30:00", ["2026-01-01T00:00"] = "2025-12-31T23:00:00", ["2028-02-29T00:30"] =
      "2028-02-28T23:30:00" } do
      assert.equal(expected .. "+00:00", at(text, "Europe/Berlin", "2025-11-01T00:00:00+00:00"), text)
    end
  end)

  it("that a clock skips is when it goes on; of one that comes twice it is the first", function()
    assert.equal("2026-03-29T01:00:00+00:00", at("02:30", "Europe/Berlin", "2026-03-29T00:00:00+00:00"))
    assert.equal("2026-10-25T00:30:00+00:00", at("2026-10-25T02:30", "Europe/Berlin", "2026-10-01T00:00:00+00:00"))
  end)

  it("has to be one, and to come", function()
    for text, problem in pairs { ["24:00"] = "is no time; write 22:00", ["12:60"] = "is no time",
      ["1:2"] = "is no time",
      ["2027-02-29T10:00"] = "is no time", ["2026-12-24"] = "is no time", ["2026-12-24T20:00 Berlin"] = "is no time",
      ["2026-12-24T25:00"] = "is no time", [""] = "is no time",
      ["2026-06-30T23:59"] = "'2026-06-30T23:59' has passed: that was 2026-06-30T21:59:00+00:00",
      ["2026-07-01T11:59Z"] = "has passed" } do
      local time, said = at(text, "Europe/Berlin", "2026-07-01T12:00:00+00:00")
      assert.is_nil(time, text)
      assert.matches(problem, said, 1, true)
    end
    assert.matches("TZ is 'No/Where', which is no zone", select(2, at("22:00", "No/Where", now())), 1, true)
  end)
end)

describe("keel exec starts a command", function()
  after_each(support.clean_up)

  local exec, path, env
  before_each(function() exec, path, env = command.on_store() end)

  -- Starts one that waits, and returns it when its run is in the store; with that run.
  local function waiting(...)
    local child = command.start({ "exec", ... }, { env = env })
    local store, run = support.open(path), nil
    assert.is_true(process.poll_until(function()
      for _, row in ipairs(store:list_runs { status = "pending" }) do run = row end
      return run ~= nil
    end))
    return child, run, store
  end

  it("in so long", function()
    local result = exec("exec", "--in", "0.3", "--wait", "0", "true") -- what --wait counts begins then
    assert.same({ code = 0, output = "", errors = "" }, result)
    local run = support.open(path):list_runs()[1]
    assert.near(0.3, keel.seconds(run.scheduled_at) - keel.seconds(run.created_at), 0.1)
    assert.is_true(run.started_at >= run.scheduled_at)
  end)

  it("at a time, and can be told meanwhile to leave it", function()
    local child, run = waiting("--at", "2999-01-01T00:00Z", "true")
    assert.equal("2999-01-01T00:00:00+00:00", run.scheduled_at)
    local cancelled = exec("runs", "cancel", run.run_id)
    assert.equal(0, cancelled.code, cancelled.errors)
    assert.equal(75, (child:wait()))
    assert.matches("was not started: it was cancelled", child.errors, 1, true)
  end)

  it("after others that have succeeded, or ended; where one has failed it says so, and is not started", function()
    exec("exec", "-t", "good", "true")
    exec("exec", "-t", "bad", "false")
    local store = support.open(path)
    local good, bad = store:list_by_thread("good")[1].run_id, store:list_by_thread("bad")[1].run_id
    assert.same({ code = 0, output = "1\n", errors = "" }, exec("exec", "--after", good, "echo", "1"))
    assert.same({ code = 0, output = "2\n", errors = "" },
      exec("exec", "--after", good, "--after-any", bad, "echo", "2"))
    local result = exec("exec", "-t", "t", "--after", good .. "," .. bad, "echo", "3")
    local run = store:list_by_thread("t")[1]
    assert.same({ code = 75, output = "", errors = ("keel exec: run %s was not started: run %s, which it waited for, "
      .. "has not succeeded\n"):format(run.run_id, bad) }, result)
    assert.same({ "error", "dependency_failed" }, { run.status, run.error_code })
    -- The same when it fails while one waits for it.
    local first = command.start({ "exec", "-t", "first", "sh", "-c", "echo up; read line; exit 3" }, { env = env })
    first:expect "up"
    local child = waiting("--after", store:list_by_thread("first")[1].run_id, "echo", "4")
    first:say "end"
    assert.equal(75, (child:wait()))
    assert.matches("which it waited for, has not succeeded\n$", child.errors)
  end)

  it("beside no more than may hold a slot, and gives up with 75", function()
    local first = command.start({ "exec", "--slot", "gpu=1", "sh", "-c", "echo up; read line" }, { env = env })
    first:expect "up"
    local result = exec("exec", "--slot", "gpu=1", "--wait", "0.1", "echo", "no")
    assert.equal(75, result.code)
    assert.matches("was not started within 0.1 s: as many runs as may hold 'gpu' do, among them ", result.errors, 1,
      true)
    local second = waiting("--slot", "gpu=1", "echo", "mine")
    first:say "end"
    assert.equal(0, (second:wait()))
    assert.equal("mine\n", second.output)
  end)

  it("no more often than a rate lets it", function()
    for _ = 1, 2 do assert.equal(0, exec("exec", "--rate", "api=1/0.4s", "true").code) end
    local runs = support.open(path):list_runs()
    assert.is_true(keel.seconds(runs[1].started_at) - keel.seconds(runs[2].started_at) >= 0.4)
    assert.equal(75, exec("exec", "--rate", "api=0/1h", "--wait", "0.05", "true").code)
  end)

  it("with slots and rates that are kept when it is tried again", function()
    exec("exec", "--slot", "gpu=2", "--rate", "api=10/1m", "true")
    local old = support.open(path):list_runs()[1]
    local result = exec("runs", "retry", "--yes", old.run_id)
    assert.equal(0, result.code, result.errors)
    local run = support.open(path):list_runs()[1]
    assert.equal(old.run_id, run.retry_of)
    assert.same({ { name = "gpu", max = 2 } }, run.slots)
    assert.same({ { name = "api", max = 10, per = 60 } }, run.rates)
  end)

  it("when a pause has ended", function()
    local runs = keel.run_manager { store = support.open(path) }
    assert(runs:pause("*", { reason = "moving" }))
    local result = exec("exec", "--wait", "0", "true")
    assert.equal(75, result.code)
    assert.matches("was not started within 0 s: * is paused", result.errors, 1, true)
    local child = waiting("echo", "on")
    assert(runs:resume "*")
    assert.equal(0, (child:wait()))
  end)

  it("says for what it waits, on a terminal", function()
    assert(keel.run_manager { store = support.open(path) }:pause "slow")
    local screen = terminal.keel({ "exec", "--slot", "slow=1", "--in", "0.2", "--wait", "0.2", "true" }, { env = env })
    assert.equal(75, screen:ended())
    local shown = screen:screen()
    local first, last = shown:find "waiting: its time has not come, until %d+"
    assert.is_truthy(first, shown)
    assert.is_truthy(shown:find("waiting: slow is paused", last, true), shown)
  end)

  it("refuses wrong input with 2, and names what to write instead", function()
    local advice = {
      [{ "--in", "1", "--at", "22:00" }] = "--in and --at both say when: give one",
      [{ "--in", "1h30" }] = "option '--in': '1h30' is no duration: character 5 should be a unit",
      [{ "--in", "999999w" }] = "'999999w' ends after the year 9999",
      [{ "--at", "noon" }] = "option '--at': 'noon' is no time; write 22:00",
      [{ "--at", "2020-01-01T00:00Z" }] = "option '--at': '2020-01-01T00:00Z' has passed",
      [{ "--slot", "gpu=many" }] = "option '--slot': 'many' is no whole number from 0 up; write gpu=2",
      [{ "--slot", "=2" }] = "'=2' has no name; write gpu=2",
      [{ "--slot", "" }] = "'' has no name; write gpu=2",
      [{ "--slot", "gpu" }] = "no limit is set for gpu; write gpu=2, or 'keel limits set' first",
      [{ "--slot", "gpu=10001" }] = "--slot[1].max must be a whole number from 0 to 10000",
      [{ "--slot", "thread:a=1" }] = "--slot[1].name must not be thread:a: threads and * can only be paused",
      [{ "--rate", "api=10" }] = "option '--rate': 'api=10' is not NAME=N/TIME; write api=10/1m",
      [{ "--rate", "api=x/1m" }] = "'x' is no whole number from 0 up; write api=10/1m",
      [{ "--rate", "api=1/1y" }] = "'1y' is no duration: character 2 should be a unit",
      [{ "--rate", "api" }] = "no limit is set for api; write api=10/1m, or",
      [{ "--after", "a,,b" }] = "option '--after': 'a,,b' has a RUN without a name; write RUN,RUN",
    }
    for words, text in pairs(advice) do
      local result = exec("exec", table.unpack(table.move({ "true" }, 1, 1, #words + 1, words)))
      assert.equal(2, result.code, text)
      assert.matches(text, result.errors, 1, true)
    end
    local result = exec("exec", "--after", "nobody", "true")
    assert.same({ 1, "keel exec: after[1]: there is no run nobody; 'keel runs list' lists them\n" },
      { result.code, result.errors })
    assert.same({}, support.open(path):list_runs())
  end)
end)

support.each_shared("a command in line", function(place)
  -- The command's own module is in its program only.
  package.preload["keel.command"] = function() return { is_terminal = function() return false end } end
  local line = require "keel.cli.exec.line"

  local monotonic = kernel.monotonic
  after_each(function() kernel.monotonic = monotonic end)

  -- Waits until there is something to be read.
  local function await_readable(descriptor)
    local poll, readable = uv.new_poll(descriptor), false
    poll:start("r", function() readable = true end)
    process.turn_until(function() return readable end, 10000)
    poll:close()
    uv.run "nowait"
    assert(readable, "nothing wakes it up")
  end

  -- Waits in line for a run that is blocked; `change` lets it start while that sleeps. No time passes, so nothing is
  -- tried again because of that.
  local function check_wakes(make_blocked, change)
    local path = place()
    local store = support.open(path)
    local manager, other = keel.run_manager { store = store }, keel.run_manager { store = support.open(path) }
    local course = { store = store, manager = manager, run = make_blocked(manager, other), options = {},
      supervisor = {} }
    function course.supervisor.wait(_, _, descriptor)
      if change then
        change(other)
        change = nil
      else
        await_readable(assert(descriptor))
      end
    end
    kernel.monotonic = function() return 1 end
    assert.is_true(line.wait(course))
    assert.is_nil(change)
  end

  it("GATE-4: wakes up when a slot is given up, on whatever thread", function()
    local holder
    check_wakes(function(manager, other)
      holder = assert(other:create("a", { slots = { { name = "gpu", max = 1 } } }))
      assert.equal("started", other:try_start(holder.run_id))
      return assert(manager:create("b", { slots = { { name = "gpu", max = 1 } } }))
    end, function(other) assert(other:update_run_completion(holder.run_id, { status = "success" })) end)
  end)

  it("GATE-4: wakes up when what it is after has ended", function()
    local source
    check_wakes(function(manager, other)
      source = assert(other:create "a")
      assert.equal("started", other:try_start(source.run_id))
      return assert(manager:create("b", { after = { source.run_id } }))
    end, function(other) assert(other:update_run_completion(source.run_id, { status = "success" })) end)
  end)

  it("GATE-4: wakes up when a pause ends, or a limit is raised", function()
    check_wakes(function(manager, other)
      assert(other:pause "thread:b")
      return assert(manager:create "b")
    end, function(other) assert(other:resume "thread:b") end)
    check_wakes(function(manager, other)
      assert(other:set_limit("gpu", { max = 0 }))
      return assert(manager:create("b", { slots = { { name = "gpu" } } }))
    end, function(other) assert(other:set_limit("gpu", { max = 1 })) end)
  end)
end)
