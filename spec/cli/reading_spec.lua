--- Command lines, by the tables of a subcommand.
local read = require "keel.cli.reading"
local usage = require "keel.cli.usage"

local command = {
  arguments = { { "run", "ids", many = true } },
  options = {
    { "--status", "-s", value = "STATUS", many = true, choices = { "done", "failed" } },
    { "--keep-last", "-n", value = "N", convert = usage.integer(-10) },
    { "--flag", "-f" },
  },
}

local function given(...)
  return assert(read("keel runs it", command, { ... }))
end

local function problem(...)
  local result, err = read("keel runs it", command, { ... })
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

  it("takes the last of several, or all when there may be many", function()
    assert.same({ run = { "a", "b" }, status = { "done", "failed" }, keep_last = 2 },
      given("a", "-n1", "-s", "done", "b", "-s", "failed", "-n2"))
    assert.same({}, given("a").status)
  end)

  it("gives an option what is behind it, whatever that looks like, but another option", function()
    assert.equal(-5, given("a", "-n", "-5").keep_last)
    assert.is_truthy(problem("a", "-n", "--flag"):find("option '-n' requires an argument", 1, true))
  end)

  it("has no options behind --", function()
    assert.same({ "-f", "--", "--flag" }, given("--", "-f", "--", "--flag").run)
    assert.same({ "-" }, given("-").run)
  end)

  it("ends where a command to be run begins", function()
    local runs = { takes_command = true, options = command.options }
    local function rest(...) return assert(read("keel it", runs, { ... })).command end
    assert.same({ "ls", "--flag" }, rest("-fn", "1", "ls", "--flag"))
    assert.same({ "ls", "--", "-x" }, rest("ls", "--", "-x"))
    assert.same({ "-x" }, rest("-f", "--", "-x"))
    assert.same({}, rest("-f"))
    assert.is_nil(assert(read("keel it", runs, { "ls", "--help" })).help)
  end)

  it("is complained about on one line that names the way out", function()
    for expected, words in pairs {
      ["missing argument 'run'; 'keel help runs it' tells what there is"] = {},
      ["unknown option '--keep-lats'; did you mean '--keep-last'?"] = { "a", "--keep-lats", "3" },
      ["unknown option '-x'; 'keel help runs it' tells what there is"] = { "a", "-fx" },
      ["option '--keep-last' requires an argument; 'keel help runs it' tells what there is"] = { "--keep-last" },
      ["option '--flag' does not take arguments; 'keel help runs it' tells what there is"] = { "a", "--flag=1" },
      ["argument for option '-s' must be one of 'done', 'failed'; 'keel help runs it' tells what there is"] =
        { "a", "-s", "gone" },
      ["'x' is no whole number from -10 up; 'keel help runs it' tells what there is"] = { "a", "-nx" },
    } do
      assert.equal(expected, problem(table.unpack(words)))
    end
    local one = { arguments = { { "id", "an id" }, { "more", "another", optional = true, choices = { "u" } } } }
    assert.same({ id = "1" }, read("keel it", one, { "1" }))
    assert.same({ id = "1", more = "u" }, read("keel it", one, { "1", "u" }))
    for expected, words in pairs { ["argument 'more' must be one of 'u'"] = { "1", "v" },
      ["too many arguments"] = { "1", "u", "3" } } do
      local _, err = read("keel it", one, words)
      assert.is_truthy(err.message:find(expected, 1, true))
    end
  end)

  it("may ask for help, whatever else is missing", function()
    assert.same({ help = true }, given("--help"))
    assert.same({ help = true }, given("-fh"))
  end)
end)
