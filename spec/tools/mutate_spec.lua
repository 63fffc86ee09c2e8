--- tests/mutate finds the places where code can be broken, and nothing else.
local ROOT = debug.getinfo(1, "S").source:match "^@(.*)spec/tools/" or ""
local lfs = require "lfs"
local near = dofile(ROOT .. "tests/mutate/near.lua")
local sites = dofile(ROOT .. "tests/mutate/sites.lua")

--- What each place of a text becomes.
local function changes(text, language)
  local found = {}
  for _, site in ipairs(sites.find(text, language)) do found[#found + 1] = sites.broken(text, site) end
  return found
end

describe("breaking code in one place", function()
  it("changes each operator and constant of C in turn", function()
    assert.same({ "if ( a || b <= 1)", "if (!a && b <= 1)", "if (!a || b < 1)", "if (!a || b <= 2)" },
      changes("if (!a || b <= 1)", "c"))
  end)

  it("changes each operator and constant of Lua in turn", function()
    assert.same({ "return a or b ~= true", "return not a and b ~= true", "return not a or b == true",
      "return not a or b ~= false" }, changes("return not a or b ~= true", "lua"))
  end)

  it("passes over a number of C that Lua does not have", function()
    assert.same({ "x = 18446744073709551615 - 2;", "x = 18446744073709551615 + 3;" },
      changes("x = 18446744073709551615 + 2;", "c"))
  end)

  it("leaves comments, strings and the preprocessor alone", function()
    assert.same({}, changes('/* a == 1 */ f("b && 2"); // c < 3', "c"))
    assert.same({}, changes("#define X \\\n  (a == 1)\n", "c"))
    assert.same({}, changes('-- a == 1\nf("b and 2", [[c < 3]]) --[[ true ]]', "lua"))
  end)

  it("says the line of a place", function()
    local text = "a = b\nc = d + e\n"
    assert.same({ 2, "c = d + e" }, { sites.line(text, sites.find(text, "lua")[1]) })
  end)
end)

describe("the tests that are nearest to a file", function()
  it("are known for each file, and are there", function()
    local pipe <close> = assert(io.popen(("cd '%s' && find kernel lua/keel -name '*.[ch]' -o -name '*.lua'"):format(
      ROOT == "" and "." or ROOT)))
    local count = 0
    for path in pipe:lines() do
      local tests = near.tests(path)
      count = count + 1
      assert.is_true(#tests > 0, path)
      for _, test in ipairs(tests) do
        local folder = test[1]:match "^spec/%a+$"
        assert.is_true(not folder or lfs.attributes(ROOT .. folder, "mode") == "directory", test[1])
      end
    end
    assert.is_true(count > 200)
    assert.equal("spec/sandbox", near.tests("kernel/binding/sandbox/arena.c")[1][1])
    assert.equal("the unit tests", near.tests("kernel/lease.c")[1][1])
  end)
end)
