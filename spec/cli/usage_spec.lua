--- Command lines, by the tables of a subcommand: what argparse makes of them.
local usage = require "keel.cli.usage"

local command = {
  about = "About.",
  arguments = { { "run", "ids", many = true } },
  options = {
    { "--status", "-s", value = "STATUS", many = true, choices = { "done", "failed" } },
    { "--keep-last", "-n", value = "N", convert = usage.integer(-10) },
    { "--flag", "-f" },
  },
}

local function given(...)
  return assert(usage.read("keel runs it", command, { ... }))
end

local function problem(...)
  local result, err = usage.read("keel runs it", command, { ... })
  assert.is_nil(result)
  assert.equal("usage", err.code)
  return err.message
end

describe("a command line", function()
  it("has options in every way of writing them", function()
    local same = { run = { "a" }, status = { "done" }, keep_last = 5, flag = true }
    assert.same(same, given("a", "--status", "done", "--keep-last", "5", "--flag"))
    assert.same(same, given("--status=done", "--keep-last=5", "--flag", "a"))
    assert.same(same, given("-sdone", "-fn5", "a"))
    assert.same(same, given("-s", "done", "-fn", "5", "a"))
  end)

  it("may give an option a negative number", function()
    for _, words in ipairs { { "-n", "-5" }, { "-n-5" }, { "--keep-last", "-5" }, { "--keep-last=-5" } } do
      assert.equal(-5, given("a", table.unpack(words)).keep_last)
    end
  end)

  it("ends where a command to be run begins", function()
    local runs = { about = "About.", takes_command = "command", options = command.options }
    local function rest(...) return assert(usage.read("keel it", runs, { ... })).command end
    assert.same({ "ls", "--flag" }, rest("-f", "-n", "1", "ls", "--flag"))
    assert.same({ "ls", "--", "-n", "-1" }, rest("ls", "--", "-n", "-1"))
    assert.same({ "-x" }, rest("-f", "--", "-x"))
    assert.same({}, rest("-f"))
    assert.is_nil(assert(usage.read("keel it", runs, { "ls", "--help" })).help)
    runs.arguments = { { "name", "of it" } } -- and that stands in front
    assert.same({ "ls", "-f" }, rest("a", "-f", "ls", "-f"))
    assert.same({ "ls" }, rest("-n", "1", "a", "--", "ls"))
  end)

  it("is complained about on one line that names the way out", function()
    for expected, words in pairs {
      ["missing argument 'run'; write: keel runs it [OPTION …] RUN …"] = {},
      ["unknown option '--keep-lats'; did you mean '--keep-last'?"] = { "a", "--keep-lats", "3" },
      ["unknown option '-x'; 'keel help runs it' tells what there is"] = { "a", "-fx" },
      ["option '--keep-last' needs a value; write: --keep-last N"] = { "--keep-last" },
      ["option '--keep-last': 'x' is no whole number from -10 up"] = { "a", "-nx" },
    } do
      assert.equal(expected, problem(table.unpack(words)))
    end
    assert.is_truthy(problem("a", "-s", "gone"):find("must be one of 'done', 'failed'", 1, true))
  end)

  it("may ask for help, whatever else is missing", function()
    assert.same({ help = true }, given "--help")
  end)
end)

describe("a duration", function()
  it("is a number of seconds, or has units, the longest first", function()
    for text, seconds in pairs { ["90"] = 90, ["0"] = 0, [".5"] = 0.5, ["1.5s"] = 1.5, ["10m"] = 600, ["1h30m"] = 5400,
      ["2w"] = 1209600, ["1w2d3h4m5.5s"] = 788645.5, ["1.5h1s"] = 5401 } do
      assert.equal(seconds, usage.duration(text), text)
    end
  end)

  it("says at which character it is wrong", function()
    local digit, unit = "should be a digit", "should be a unit: w, d, h, m or s"
    local smaller = "should be a smaller unit than the one before"
    for text, expected in pairs { [""] = { 1, digit }, soon = { 1, digit }, ["-1"] = { 1, digit },
      ["1.2.3"] = { 4, unit }, ["1h30"] = { 5, unit }, ["1h30x"] = { 5, unit }, ["5y"] = { 2, unit },
      ["1hm"] = { 3, digit }, ["."] = { 1, digit },
      ["30m1h"] = { 5, smaller }, ["1h1h"] = { 4, smaller }, ["1e3"] = { 2, unit }, ["10 m"] = { 3, unit } } do
      local seconds, said = usage.duration(text)
      assert.is_nil(seconds, text)
      assert.equal(("'%s' is no duration: character %d %s; write 30, 1.5s, 10m, 1h30m, 1d or 2w"):format(text,
        expected[1], expected[2]), said)
    end
    local _, said = usage.duration(("9"):rep(400))
    assert.matches("is longer than can be counted$", said)
  end)
end)
