--- keel run: a Lua script with keel in it.
local command = require "support.command"
local files = require "support.files"
local json = require("keel").json
local support = require "support"

local function script(text)
  local path = support.dir() .. "/script.lua"
  files.write(path, text)
  return path
end

describe("keel run", function()
  after_each(support.clean_up)

  it("gives a script keel, its arguments and the store it was called with", function()
    local path = script [[
      assert(keel == require "keel")
      local first, second = ...
      assert(arg[0]:find "script%.lua$" and arg[1] == first and #arg == 2)
      local store <close> = assert(keel.open(os.getenv "KEEL_STORE"))
      assert(store:put(first, { thread_id = second, claimable = true }))
      print(first, second, io.read())
    ]]
    local db = support.path()
    local result = command.run({ "--store", db, "run", path, "a", "--json" }, {}, "typed\n")
    assert.same({ code = 0, output = "a\t--json\ttyped\n", errors = "" }, result)
    assert.equal("--json", support.open(db):get("a").thread_id)
  end)

  it("passes its outcome on", function()
    for text, code in pairs { ["return 7"] = 7, ["return true"] = 0, ["return false"] = 1, ["return 6 / 2"] = 3,
      ["return 0.5"] = 1, ["os.exit(9)"] = 9 } do
      assert.equal(code, command.run({ "run", script(text) }).code, text)
    end
  end)

  it("finalizes what a script leaves, as lua5.4 does", function()
    local left = [[left = setmetatable({}, { __gc = function() print "finalized" end })]]
    assert.equal("finalized\n", command.run({ "run", script(left) }).output)
    assert.equal("finalized\n", command.run({ "run", script(left .. " error 'e'") }).output)
    assert.equal("1\nfinalized\n", command.run({ "--store", ":memory:", "repl" }, {}, left .. "\n1\n").output)
  end)

  it("shows where a script failed", function()
    local path = script "local function f() error 'no luck' end\nf()"
    local result = command.run { "run", path }
    assert.equal(1, result.code)
    assert.is_truthy(result.errors:find("script.lua:1: no luck", 1, true))
    assert.is_truthy(result.errors:find("script.lua:2: in main chunk", 1, true))
    local err = json.decode(command.run({ "--json", "run", path }).errors).error
    assert.same({ "script", false }, { err.code, err.transient })
    assert.is_nil(result.errors:find("keel/", 1, true) or result.errors:find("xpcall", 1, true))
    result = command.run { "run", script "error { code = 3 }" }
    assert.is_truthy(result.errors:find("keel run: a table was raised: { code = 3 }\nstack traceback:", 1, true))
    result = command.run { "run", script "assert(keel.open '')" }
    assert.is_truthy(result.errors:find "^keel run: invalid_request: [^\n]+\nstack traceback:")
  end)

  it("says in a line what is wrong with the script's file", function()
    for _, path in ipairs { support.dir() .. "/missing.lua", script "this is no Lua" } do
      local result = command.run { "run", path }
      assert.equal(2, result.code)
      assert.is_truthy(result.errors:find "^keel run: [^\n]+\n$")
      assert.is_truthy(result.errors:find(path:match "[^/]+$", 1, true))
    end
    assert.is_truthy(command.run({ "run" }).errors:find("which script?", 1, true))
  end)
end)
