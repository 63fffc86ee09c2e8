--- keel cron: commands that are run again and again.
local command = require "support.command"
local json = require("keel").json
local keel = require "keel"
local lfs = require "lfs"
local support = require "support"

describe("[#sqlite] keel cron", function()
  after_each(support.clean_up)

  local run, path
  before_each(function() run, path = command.on_store() end)

  local function schedules()
    local list = {}
    for line in run("cron", "list", "--json").output:gmatch "[^\n]+" do list[#list + 1] = json.decode(line) end
    return list
  end

  it("has a command run again and again, by whoever ticks and works off commands", function()
    local result = run("cron", "add", "nightly", "0 3 * * *", "--timezone", "UTC", "--attempts", "3", "--timeout", "1h",
      "--slot", "disk=1", "--user", "u", "--strategy", "enqueue", "--set", "max_waiting=2", "--missed", "all", "--",
      "sh", "-c", "exit 1")
    assert.equal(0, result.code, result.errors)
    assert.matches("^nightly is due next at %d+%-%d+%-%d+ 03:00:00 %(UTC%); 'keel work' runs it\n$", result.errors)
    local schedule = schedules()[1]
    assert.same({ "nightly", "0 3 * * *", "UTC", "all" },
      { schedule.name, schedule.cron, schedule.timezone, schedule.missed })
    local later = keel.seconds(schedule.next_at) + 1
    local runs = keel.run_manager { store = support.open(path, { clock = function() return later end }) }
    assert(runs:tick())
    local made = assert(runs:claim_next { handlers = { "command" } })
    assert.same({ command = { "sh", "-c", "exit 1" }, directory = lfs.currentdir() }, made.kwargs)
    assert.same({ "nightly", "nightly", 3, 3600, "u", "enqueue" }, { made.schedule, made.thread_id, made.max_attempts,
      made.timeout, made.user_id, made.multitask_strategy })
    assert.same({ { name = "disk", max = 1 } }, made.slots)
    assert.is_nil(runs:claim_next())
  end)

  it("changes the schedule of a name, lists them, and removes one", function()
    run("cron", "add", "a", "@daily", "-z", "Europe/Berlin", "--thread", "t", "true")
    run("cron", "add", "b", "@every 1h30m", "echo", "x y")
    run("cron", "add", "a", "30 4 * * *", "false", "--quiet")
    local list = schedules()
    assert.same({ { "a", "30 4 * * *", "local" }, { "b", nil, nil, 5400 } },
      { { list[1].name, list[1].cron, list[1].timezone }, { list[2].name, list[2].cron, list[2].timezone,
        list[2].every } })
    local shown = run "cron"
    assert.matches("^NAME  CRON +ZONE +NEXT +LAST  WHAT\na +30 4 %* %* %* +local +%d+%-%d+%-%d+ %d%d:%d%d:%d%d +false "
      .. "%-%-quiet\nb +@every 1h30m +%d+%-.- echo 'x y'\n$", shown.output)
    assert.same(shown, run("cron", "list"))
    assert.same({ code = 0, output = "", errors = "" }, run("cron", "remove", "a"))
    assert.same({ code = 1, output = "",
      errors = "keel cron remove: there is no schedule a; 'keel cron list' lists them\n" },
      run("cron", "remove", "a"))
    assert.equal(1, #schedules())
    run("cron", "remove", "b")
    assert.equal("there is no schedule; 'keel cron add' makes one\n", run("cron").errors)
  end)

  it("says when one happens next, or would", function()
    run("cron", "add", "often", "@every 10m", "true")
    local first = keel.seconds(schedules()[1].next_at)
    local times = {}
    for time in run("cron", "next", "often", "-n", "3").output:gmatch "[^\n]+" do
      times[#times + 1] = math.floor(keel.seconds(time) - first + 0.5)
    end
    assert.same({ 0, 600, 1200 }, times)
    local bare = function(...) return command.run { "cron", "next", ... } end -- there is no store
    local output = bare("0 12 24 12 *", "-z", "Europe/Berlin", "-n", "2").output
    assert.matches("^%d+%-12%-24T11:00:00%+00:00\n%d+%-12%-24T11:00:00%+00:00\n$", output)
    assert.is_true(keel.seconds(output:match "^[^\n]+") > keel.seconds(keel.time(0)))
    assert.matches('^{"at":"%d+%-01%-01T00:00:00%+00:00"}\n$', bare("@yearly", "-z", "UTC", "--json").output)
  end)

  it("takes times of the system's zone, unless it is told another", function()
    local result = command.run({ "cron", "next", "0 12 24 12 *" }, { env = { TZ = "Asia/Tokyo" } })
    assert.matches("^%d+%-12%-24T03:00:00%+00:00\n$", result.output)
  end)

  it("refuses wrong input with 2, and shows the place", function()
    local five = "and must have 5: minute, hour, day of month, month, day of week; write it as one word in quotes"
    local function refused(code, text, ...)
      local result = run("cron", ...)
      assert.matches(text, result.errors, 1, true)
      assert.matches("^[^\n]+\n$", result.errors)
      assert.same({ code, "" }, { result.code, result.output })
    end
    refused(2, "CRON: minute (field 1, character 1): '61' is not a number", "add", "x", "61 * * * *", "true")
    refused(2, "CRON: day of week (field 5, character 9): 'moon' is not", "add", "x", "0 3 * * moon", "true")
    refused(2, "CRON: it has 1 fields, " .. five, "add", "x", "0", "3", "*", "*", "*", "true")
    refused(2, "it has 3 fields, " .. five, "next", "0 3 *")
    refused(2, "CRON: '10x' is no duration: character 3 should be a unit", "add", "x", "@every 10x", "true")
    refused(2, "CRON: the time behind @every must be a number of seconds from 0.001", "next", "@every 0")
    refused(2, "did you mean 'Europe/Berlin'?", "add", "x", "@daily", "-z", "Europe/Berln", "true")
    refused(2, "--timezone goes with cron, not with every", "add", "x", "@every 1h", "-z", "UTC", "true")
    refused(2, "--timezone goes with a CRON", "next", "x", "-z", "UTC")
    refused(2, "--strategy must be a name", "add", "x", "@daily", "-s", "./mine.lua", "true")
    refused(2, "did you mean 'enqueue'?", "add", "x", "@daily", "-s", "enqeue", "true")
    refused(2, "option '--set': unknown strategy option 'max'", "add", "x", "@daily", "--set", "max=2", "true")
    refused(2, "no limit is set for gpu; write gpu=2", "add", "x", "@daily", "--slot", "gpu", "true")
    refused(2, "unknown option '--after'", "add", "x", "@daily", "--after", "r", "true")
    refused(2, "NAME must be 1 to 256 bytes", "add", "", "@daily", "true")
    refused(2, "which command? Write: keel cron add NAME 'CRON'", "add", "x", "@daily")
    refused(2, "missing argument 'cron'; write: keel cron add NAME 'CRON' [OPTION …] -- COMMAND", "add", "x", "--",
      "true")
    run("cron", "add", "nightly", "@daily", "true")
    refused(1, "there is no schedule nigtly; did you mean 'nightly'?", "remove", "nigtly")
    run("cron", "remove", "nightly")
    refused(1, "there is no schedule x; 'keel cron list' lists them", "next", "x")
    assert.same({}, schedules())
  end)

  it("is completed: names, and the command behind them", function()
    run("cron", "add", "nightly", "@daily", "true")
    local function offered(...) return run("__complete", "cron", ...).output end
    assert.equal("words\nnightly\t@daily\n", offered("remove", ""))
    assert.equal("words\n", offered("add", "nightly", ""))
    assert.equal("command 5\n", offered("add", "nightly", "@daily", ""))
    assert.equal("command 8\n", offered("add", "nightly", "-z", "UTC", "@daily", "--", ""))
  end)
end)
