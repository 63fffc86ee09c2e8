--- keel limits, pause and resume.
local command = require "support.command"
local json = require("keel").json
local keel = require "keel"
local support = require "support"

describe("[#sqlite] Limits by name, from the shell,", function()
  after_each(support.clean_up)

  local run, path
  before_each(function() run, path = command.on_store() end)

  local function limits()
    local list = {}
    for line in run("limits", "--json").output:gmatch "[^\n]+" do list[#list + 1] = json.decode(line) end
    return list
  end

  it("are set, changed and taken away", function()
    assert.same({ code = 0, output = "", errors = "gpu may be held by 4: nothing of it runs or waits\n" },
      run("limits", "set", "gpu", "4")) -- the store is made
    assert.equal("api may start 10 times in 1h30m: nothing of it runs or waits\n",
      run("limits", "set", "api", "10/1h30m").errors)
    assert.same({ { name = "api", max = 10, per = 5400, paused = false, holding = 0, waiting = 0 },
      { name = "gpu", max = 4, paused = false, holding = 0, waiting = 0 } }, limits())
    local listed = run "limits"
    assert.equal("NAME  LIMIT     HELD  WAITING  STATE  REASON\napi   10/1h30m     0        0\n"
      .. "gpu   4            0        0\n", listed.output)
    assert.same(listed, run("limits", "list"))
    run("limits", "set", "api", "3", "--quiet") -- all of what was set is replaced
    assert.is_nil(limits()[1].per)
    assert.equal(0, run("limits", "remove", "api").code)
    assert.same({ code = 1, output = "",
      errors = "keel limits remove: no limit is set for api; 'keel limits' lists them\n" },
      run("limits", "remove", "api"))
    assert.equal(1, #limits())
  end)

  it("hold for what runs already, and for what waits", function()
    local runs = keel.run_manager { store = support.open(path) }
    local function make(thread) return runs:create(thread, { slots = { { name = "gpu", max = 1 } } }).run_id end
    local first, second = make "a", make "b"
    assert.equal("started", runs:try_start(first))
    assert.equal("waiting", runs:try_start(second))
    assert.equal("gpu may be held by 2: 1 running, 1 waiting\n", run("limits", "set", "gpu", "2").errors)
    assert.equal("started", runs:try_start(second))
  end)

  it("pause slots, rates, threads and everything, until they are resumed", function()
    local runs = keel.run_manager { store = support.open(path) }
    local run_id = runs:create("t", { slots = { { name = "gpu", max = 1 } } }).run_id
    for _, name in ipairs { "gpu", "thread:t", "*" } do
      local paused = run("pause", name, "--reason", "moving", "--json")
      assert.same({ name = name, paused = true, reason = "moving", holding = 0, waiting = 1 },
        json.decode(paused.output))
      assert.equal("waiting", runs:try_start(run_id))
      assert.matches(" +1 +paused +moving", run("limits").output)
      assert.same({ code = 0, output = "", errors = name .. " is not paused any more: "
        .. (name == "gpu" and "0 running, 1 waiting\n" or "nothing of it runs or waits\n") }, run("resume", name))
    end
    assert.equal("started", runs:try_start(run_id))
    assert.same({ code = 1, output = "", errors = "keel resume: gpu is not paused; 'keel limits' lists what is\n" },
      run("resume", "gpu"))
  end)

  it("are found among many", function()
    local store = support.open(path)
    assert(store:transaction(function(tx)
      for i = 1, 1001 do assert(tx:set_limit(("n%04d"):format(i), { max = 1 })) end
      return true
    end))
    assert.equal(0, run("limits", "remove", "n1001").code)
    assert.equal(1000, #limits())
    assert.equal("nothing is set, and no run wants a slot or a rate\n", (function()
      local other, place = command.on_store()
      support.open(place)
      return other "limits"
    end)().errors)
  end)

  it("refuse wrong input with 2, and say what to write instead", function()
    support.open(path)
    for line, text in pairs {
      ["limits set gpu many"] = "keel limits set: 'many' is no whole number from 0 up; write 4, or 10/1m",
      ["limits set gpu 10/x"] = "'x' is no duration: character 1",
      ["limits set gpu 10/0"] = "per must be a number of seconds greater than 0",
      ["limits set gpu 10001"] = "max must be a whole number from 0 to 10000",
      ["limits set gpu"] = "write: keel limits set [OPTION …] NAME LIMIT",
      ["limits set * 3"] = "threads and * can only be paused",
      ["limits sett gpu 3"] = "did you mean 'set'?",
      ["limits --jsno"] = "did you mean '--json'?",
      ["pause thread:"] = "NAME must have the id of a thread behind 'thread:'",
      ["pause"] = "write: keel pause [OPTION …] NAME",
    } do
      local words = {}
      for word in line:gmatch "%S+" do words[#words + 1] = word end
      local result = run(table.unpack(words))
      assert.equal(2, result.code, line)
      assert.matches(text, result.errors, 1, true)
      assert.matches("^[^\n]+\n$", result.errors)
    end
    assert.same({}, limits())
    assert.matches("^Usage: keel limits COMMAND", run("limits", "--help").output)
  end)

  it("are what Tab completes", function()
    run("limits", "set", "gpu", "4")
    run("pause", "disk")
    local function offered(...) return run("__complete", ...).output end
    assert.equal("words\ndisk\tpaused\n", offered("resume", ""))
    assert.equal("words\ngpu\t\n", offered("limits", "remove", ""))
    assert.equal("words\ngpu\t\n*\teverything\n", offered("pause", ""))
  end)
end)
