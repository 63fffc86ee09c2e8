--- The frame of the command: finding subcommands, wrong input, help, and which store it works on.
local command = require "support.command"
local lfs = require "lfs"
local support = require "support"

local function is_one_line(text)
  return text:find "^[^\n]+\n$" ~= nil
end

describe("keel", function()
  after_each(support.clean_up)

  it("says what there is, and explains each command", function()
    local plain, path = command.run {}, support.path()
    assert.equal(0, plain.code)
    assert.equal(plain.output, command.run({ "help" }).output)
    assert.equal(plain.output, command.run({ "help", "--json" }).output)
    local count = 0
    for name in plain.output:gmatch "\n  (%l+) " do
      count = count + 1
      local help = command.run { "help", name }
      assert.equal(0, help.code, name)
      assert.is_truthy(help.output:find("Usage: keel " .. name, 1, true), name)
      for line in help.output:gmatch "[^\n]+" do assert.is_true(utf8.len(line) <= 100, line) end
      assert.equal(help.output, command.run({ "help", "--json", name, "--store", path, "--quiet" }).output, name)
      if name ~= "help" then assert.equal(help.output, command.run({ name, "--help" }).output, name) end
    end
    assert.is_true(count >= 3)
  end)

  it("suggests the command that was meant", function()
    for word, meant in pairs { exek = "exec", exce = "exec", ["exec-"] = "exec", versoin = "version", EXEC = "exec" } do
      local result = command.run { word }
      assert.equal(2, result.code)
      assert.is_true(is_one_line(result.errors))
      assert.is_truthy(result.errors:find(("did you mean '%s'?"):format(meant), 1, true), result.errors)
      assert.equal("", result.output)
    end
    local result = command.run { "frobnicate" }
    assert.equal(2, result.code)
    assert.is_truthy(result.errors:find("there are: exec", 1, true))
    assert.equal(2, command.run({ "help", "exek" }).code)
    assert.equal("keel help: keel runs list has no command 'old'\n",
      command.run({ "help", "runs", "list", "old" }).errors)
    result = command.run { "runs", "retry", "r", "--key", "k" }
    assert.equal("keel runs retry: unknown option '--key'; 'keel help runs retry' tells what there is\n", result.errors)
    assert.matches("%-%-man +print the manual page", command.run({ "help", "help" }).output)
    assert.is_truthy(command.run({ "help", "--mna" }).errors:find("did you mean '--man'?", 1, true))
  end)

  it("suggests the option that was meant, on one line", function()
    local result = command.run { "exec", "--thred", "t", "true" }
    assert.equal(2, result.code)
    assert.equal("keel exec: unknown option '--thred'; did you mean '--thread'?\n", result.errors)
  end)

  it("takes the common options before and behind the command #files", function()
    local path = support.path()
    assert.equal(0, command.run({ "--store", path, "exec", "true" }).code)
    assert.equal(0, command.run({ "exec", "--store=" .. path, "true" }).code)
    assert.equal("file", lfs.attributes(path, "mode"))
    assert.same({ code = 2, output = "", errors = "keel: option '--store' needs a value; write: --store FILE\n" },
      command.run { "--store" })
    local between = command.run { "runs", "--quiet", "list" }
    assert.equal(2, between.code)
    assert.is_truthy(between.errors:find("Write: keel runs COMMAND --quiet; there are: list,", 1, true), between.errors)
    assert.equal(2, command.run({ "--durability", "none", "--store", path, "exec", "true" }).code)
  end)

  it("tells its version, as an option too", function()
    local plain = command.run({ "version" }).output
    assert.is_truthy(plain:find "^keel %d+%.%d+%.%d+\n$")
    assert.equal(plain, command.run({ "--version" }).output)
    assert.is_truthy(command.run({ "--json", "--version" }).output:find '^{"version":"')
  end)

  it("gives errors as JSON too", function()
    local result = command.run { "--json", "exec", "--timeout", "soon", "true" }
    assert.equal(2, result.code)
    assert.is_true(is_one_line(result.errors))
    local err = require("keel").json.decode(result.errors).error
    assert.equal("usage", err.code)
    assert.is_truthy(err.message:find("write 30, 1.5s", 1, true))
  end)

  it("keeps its store in the user's state directory, which it makes for him alone", function()
    local home = support.dir()
    local env = { HOME = home }
    assert.equal(0, command.run({ "exec", "true" }, { env = env }).code)
    assert.equal("file", lfs.attributes(home .. "/.local/state/keel/keel.db", "mode"))
    assert.equal("rwx------", lfs.attributes(home .. "/.local/state/keel", "permissions"))
    env.XDG_STATE_HOME = home .. "/elsewhere"
    assert.equal(0, command.run({ "exec", "true" }, { env = env }).code)
    assert.equal("rwx------", lfs.attributes(home .. "/elsewhere/keel", "permissions"))
    env.XDG_STATE_HOME = "relative"
    assert.equal(0, command.run({ "exec", "true" }, { env = env, cwd = home }).code)
    assert.is_nil(lfs.attributes(home .. "/relative", "mode"))
  end)

  it("says what to do when there can be no store", function()
    local nowhere = command.run({ "exec", "true" }, { env = { HOME = "" } })
    assert.equal(2, nowhere.code)
    assert.is_truthy(nowhere.errors:find("--store", 1, true))
    local memory = command.run { "exec", "--store", ":memory:", "true" }
    assert.equal(2, memory.code)
    local missing = command.run { "exec", "--store", support.dir() .. "/no/where.db", "true" }
    assert.equal(1, missing.code)
    assert.is_true(is_one_line(missing.errors))
  end)
end)
