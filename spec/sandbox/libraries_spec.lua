--- The sandbox's own versions of library functions do what Lua's do, on arguments by chance.
local kernel = require "keel.kernel"
local sandbox = require "support.sandbox"

local SEED = tonumber(os.getenv "KEEL_SEED") or os.time()
local CASES = 4000

-- A small generator of numbers, so that a seed says it all.
local state = SEED
local function chance(n)
  state = (state * 6364136223846793005 + 1442695040888963407)
  return (state >> 33) % n + 1
end

local function pick(list) return list[chance(#list)] end

local FUNCTIONS = { "insert", "insert", "remove", "remove", "concat", "unpack", "pack", "rep", "format", "select" }
local VALUES = { "nil", "t", 0, 1, 2, 3, 4, 6, -1, -3, 1.5, 2.0, "", "x", ",", "2", " 7 ", "a\0b", true, false, 1e300,
  math.mininteger, "%s", "%d", "%5.1f", "%x", "%c", "%%", "%", "%-5s|", "%i %s" }

-- Calls a function on a list of `n` items, which is where an argument says "t". Gives its results and the list as text.
local BODY = [[
  local functions = { insert = table.insert, remove = table.remove, concat = table.concat, unpack = table.unpack,
    pack = table.pack, rep = string.rep, format = string.format, select = select }
  local function shown(value)
    if type(value) ~= "table" then return tostring(value) end
    local texts = {}
    for key, item in pairs(value) do
      texts[#texts + 1] = tostring(key) .. "=" .. (type(item) == "table" and "t" or tostring(item))
    end
    table.sort(texts)
    return "{" .. table.concat(texts, " ") .. "}"
  end
  return function(case)
    local t = {}
    for i = 0, case.n do if i > 0 or case.zero then t[i] = "item " .. i end end
    for i = 1, case.count do
      if case.given[i] == "t" then case.given[i] = t elseif case.given[i] == "nil" then case.given[i] = nil end
    end
    local got = table.pack(pcall(functions[case.name], table.unpack(case.given, 1, case.count)))
    local texts = { shown(t) }
    for i = 2, got[1] and got.n or 0 do texts[i] = shown(got[i]) end
    return { (got[1] and "" or "error ") .. table.concat(texts, ", ") }
  end
]]

local function random_case()
  local case = { name = pick(FUNCTIONS), n = chance(6) - 1, zero = chance(4) == 1, count = chance(5) - 1, given = {} }
  for i = 1, case.count do case.given[i] = pick(VALUES) end
  if case.name == "rep" or case.name == "format" then
    for i = 1, case.count do if case.given[i] == "t" then case.given[i] = "x" end end -- they show addresses
  elseif case.name ~= "select" and case.name ~= "pack" and case.count > 0 then
    case.given[1] = "t" -- Lua's take a text for a table, by its metatable
  end
  return case
end

describe("The sandbox's libraries", function()
  it("repeat with separators of any length", function()
    for _, case in ipairs { { "x", 10, " and then " }, { "", 3, "--" }, { "long", 2, "" }, { "x", 1, "never" } } do
      assert.equal(string.rep(table.unpack(case)), sandbox.eval("string.rep(...)", table.unpack(case)))
    end
  end)

  it(("are Lua's, by chance (KEEL_SEED=%d)"):format(SEED), function()
    local own = assert(load(BODY))()
    local box = assert(kernel.sandbox(BODY, "script"))
    for _ = 1, CASES do
      local case = random_case()
      local ok, result, reason = box:call(1000000, 20, 1 << 20, case)
      assert(ok, reason)
      local given = {}
      for i = 1, case.count do given[i] = tostring(case.given[i]) end
      local called = ("%s(%s), %d items"):format(case.name, table.concat(given, ", "), case.n)
      assert.equal(own(case)[1], result[1], called)
    end
  end)

  it("sort stably", function()
    assert.same({ "b1", "b2", "a1", "a2" }, sandbox.result [[
      return function()
        local t = { "a1", "b1", "a2", "b2" }
        table.sort(t, function(x, y) return x:byte() > y:byte() end)
        return t
      end]])
  end)

  it("refuse a list whose border is the greatest integer", function()
    assert.equal(5, sandbox.fails("too long", [[
      return function()
        local t, i = { [math.maxinteger] = 1 }, 1
        while i > 0 do t[i], t[i + 1], i = 1, 1, i * 2 end
        assert(#t == math.maxinteger)
        table.insert(t, 1)
      end]]))
  end)
end)
