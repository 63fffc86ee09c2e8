--- Scripts that try to run for ever, each in its own way. Every one is stopped by the budget that is named beside it.
--- How long a script went on after its time was up is measured and told, never judged.
local kernel = require "keel.kernel"
local sandbox = require "support.sandbox"

-- { what, the limit, the script's body }. Where that is "instructions", the count is exact to one piece of work.
local SCRIPTS = {
  { "loops", "instructions", "while true do end" },
  { "loops in one line of goto", "instructions", "::again:: goto again" },
  { "counts very far", "instructions", "for _ = 1, math.maxinteger do end" },
  { "counts in steps of nothing much", "instructions", "for _ = 0, 1e300, 1e-300 do end" },
  { "repeats until never", "instructions", "repeat local x = 1 until x == 2" },
  { "loops through a generic for", "instructions", "for _ in function() return 1 end do end" },
  { "calls itself in tail position", "instructions", "local function f() return f() end f()" },
  { "two functions call each other in tail position", "instructions",
    "local g; local function f() return g() end function g() return f() end f()" },
  { "loops inside pcall", "instructions", "pcall(function() while true do end end)" },
  { "swallows the stop with pcall, again and again", "instructions",
    "while true do pcall(function() while true do end end) end" },
  { "nests pcalls that swallow the stop", "instructions",
    "local function f(n) while true do if n > 0 then pcall(f, n - 1) end end end f(100)" },
  { "pcalls pcall on itself", "instructions", "while true do pcall(pcall, pcall, pcall, error) end" },
  { "loops on raising", "instructions", "while true do pcall(error) end" },
  { "raises tables for ever", "instructions", "while true do pcall(error, {}) end" },
  { "loops in a comparison of sort", "instructions",
    "table.sort({ 1, 2, 3 }, function() while true do end end)" },
  { "swallows the stop inside a comparison of sort", "instructions",
    "while true do pcall(table.sort, { 1, 2 }, function() while true do end end) end" },
  { "sorts a long list with a false order, over and over", "instructions",
    "local t = {} for i = 1, 3e4 do t[i] = i % 7 end while true do table.sort(t, function() return true end) end" },
  { "sorts long texts of zeros, which take longest to compare", "instructions",
    "local a = ('\\0'):rep(1e5) local b = a .. 'x' local t = {} for i = 1, 100 do t[i] = i % 2 == 0 and a or b end\n" ..
    "while true do table.sort(t) end" },
  { "inserts at the front of a long list", "instructions",
    "local t = {} for i = 1, 3e4 do t[i] = i end while true do table.insert(t, 1, 0) table.remove(t, 1) end" },
  { "unpacks a long list for ever", "instructions",
    "local t = {} for i = 1, 2e4 do t[i] = i end while true do select('#', table.unpack(t)) end" },
  { "selects one by one out of many", "instructions",
    "local t = {} for i = 1, 1e4 do t[i] = i end\n" ..
    "local function f(...) for i = 1, select('#', ...) do local x = select(i, ...) end end " ..
    "while true do f(table.unpack(t)) end" },
  { "goes through an unordered table again and again", "instructions",
    "local t = {} for i = 1, 2000 do t['k' .. i] = i end while true do next(t) end" },
  { "walks a table by next", "instructions",
    "local t = {} for i = 1, 2000 do t['k' .. i] = i end local k repeat k = next(t, k) until k == nil" },
  { "a pattern of stars", "instructions", "(('a'):rep(400)):find(('a*'):rep(30) .. 'b')" },
  { "a pattern of few, few, few", "instructions", "(('a'):rep(400)):find(('.-'):rep(20) .. 'b')" },
  { "a pattern of maybes", "instructions", "(('a'):rep(30)):find(('a?'):rep(30) .. ('a'):rep(30) .. 'b')" },
  { "a pattern with a class and captures", "instructions", "(('a'):rep(400)):match(('(%w*)'):rep(20) .. '!')" },
  { "a short pattern on a short text", "instructions", "(('x'):rep(64)):match '.*.*.*.*.*.*.*.*.*.*y'" },
  { "brackets that never balance", "instructions", "(('('):rep(1e5)):find '%b()'" },
  { "a pattern that looks back", "instructions", "(('a'):rep(2000)):find '(.*)(.*)%1%2b'" },
  { "replaces with a catastrophic pattern", "instructions", "(('a'):rep(400)):gsub(('a-'):rep(20) .. 'b', '')" },
  { "a catastrophic pattern in gmatch", "instructions",
    "for _ in (('a'):rep(400)):gmatch(('a*'):rep(30) .. 'b') do end" },
  { "swallows the stop of a pattern", "instructions",
    "while true do pcall(string.find, ('a'):rep(400), ('a*'):rep(30) .. 'b') end" },
  { "a replacement function that never returns", "instructions",
    "('abc'):gsub('.', function() while true do end end)" },
  { "replaces nothing by a little, in a long text", "instructions", "while true do (('x'):rep(1e4)):gsub('', '') end" },
  { "compares long texts", "seconds",
    "local a, b = ('x'):rep(1e6), ('x'):rep(1e6) .. 'y' while true do local _ = a < b end", seconds = 0.05,
    instructions = math.maxinteger },
  { "compares long texts of zeros", "seconds",
    "local a = ('\\0'):rep(1e6) local b = a .. 'x' while true do local _ = a < b end", seconds = 0.05,
    instructions = math.maxinteger },
  { "is given all the instructions there are", "seconds", "while true do end", seconds = 0.05,
    instructions = math.maxinteger },
  { "swallows the stop of the clock", "seconds", "while true do pcall(function() while true do end end) end",
    seconds = 0.05, instructions = math.maxinteger },
  { "has a pattern and all the instructions there are", "seconds", "(('a'):rep(400)):find(('a*'):rep(30) .. 'b')",
    seconds = 0.05, instructions = math.maxinteger },
  { "makes garbage slowly, with all the memory there is", "seconds",
    "local t = {} while true do t = { t = { } } end", seconds = 0.05, instructions = math.maxinteger,
    bytes = 1 << 40 },
  { "fills memory, with all there is", "seconds", "local t = {} while true do t = { t } end", seconds = 0.05,
    instructions = math.maxinteger, bytes = 1 << 40 },
}

-- A list of 33 items whose border is 2^30, and what goes through it. The instructions are no bound.
local powers = {}
for i = 3, 30 do powers[#powers + 1] = ("[%d] = 1"):format(1 << i) end
local SPARSE = ("local t = { 1, 2, 3, 4, [5] = 1, %s }\nif #t ~= 1 << 30 then return { reason = #t } end\n")
  :format(table.concat(powers, ", "))
for what, body in pairs {
  ["removes from the front of"] = "table.remove(t, 1)",
  ["inserts at the front of"] = "table.insert(t, 1, 0)",
  ["swallows the stop of remove from"] = "while true do pcall(table.remove, t, 1) end",
  ["walks"] = "for i = 1, #t do local _ = t[i] end",
} do
  SCRIPTS[#SCRIPTS + 1] = { "F-47: " .. what .. " a sparse list", "seconds", SPARSE .. body, seconds = 0.05,
    instructions = math.maxinteger, lines = 5 }
end
SCRIPTS[#SCRIPTS + 1] = { "F-47: sorts a sparse list", "bytes", SPARSE .. "table.sort(t)", seconds = 20,
  instructions = math.maxinteger, lines = 5 }

describe("POLICY-8: a script that", function()
  local overshoot, whose = 0, nil

  for _, case in ipairs(SCRIPTS) do
    local what, limit, body = case[1], case[2], case[3]
    it(what .. " is stopped", function()
      local box = assert(kernel.sandbox("return function()\n" .. body .. "\nreturn { admit = true }\nend", "script"))
      local instructions = case.instructions or 1000000
      local seconds = case.seconds or 20
      local begun = kernel.monotonic()
      local ok, kind, reason, line = box:call(instructions, seconds, case.bytes or 16 << 20)
      local over = kernel.monotonic() - begun - seconds
      assert.same({ false, "budget", limit }, { ok, kind, reason })
      assert.is_true(line >= 2 and line <= (case.lines or 3), tostring(line))
      if limit == "seconds" and over > overshoot then overshoot, whose = over, what end
      if limit ~= "instructions" then return end
      local used = box:usage()
      assert.is_true(used > instructions and used <= instructions + 40000, tostring(used))
    end)
  end

  it("F-47: joins or unpacks a sparse list fails at the first hole", function()
    for body, words in pairs { ["table.concat(t)"] = "invalid value (at index 6)",
      ["table.unpack(t)"] = "too many results to unpack" } do
      local box = assert(kernel.sandbox("return function()\n" .. SPARSE .. body .. "\nend", "script"))
      local ok, what, reason = box:call(math.maxinteger, 20, 16 << 20)
      assert.same({ false, "failed" }, { ok, what })
      assert.is_truthy(reason:find(words, 1, true), reason)
    end
  end)

  it("F-56: nests callbacks of gsub, sort or pcall deeply fails, and can catch that", function()
    local sandbox_support = require "support.sandbox"
    sandbox_support.fails("stack overflow", "return function() local function f() ('x'):gsub('.', f) end f() end")
    sandbox_support.fails("stack overflow", "return function() local function f() table.sort({ 1, 2 }, f) end f() end")
    assert.same({ 60, true }, sandbox_support.result [[return function()
      local depth = 0
      local function f() depth = depth + 1 pcall(f) end
      pcall(f)
      local fine = pcall(pcall, pcall, ("x").gsub, "x", ".", function() return pcall(type, 1) end)
      return { depth, fine }
    end]])
  end)

  it("was stopped has left nothing: the next call is as good as the first", function()
    local source = "return function(request) while request.loop do end return { admit = true } end"
    local box = assert(kernel.sandbox(source, "script"))
    for _ = 1, 3 do
      assert.same({ false, "budget", "instructions", 1 }, { box:call(10000, 20, 1 << 20, { loop = true }) })
      assert.same({ true, { admit = true } }, { box:call(10000, 20, 1 << 20, {}) })
    end
  end)

  it("stays within a small budget is not stopped, one instruction more is", function()
    local source = "return function(request) for _ = 1, request.n do end return {} end"
    local function used(n)
      local box = assert(kernel.sandbox(source, "script"))
      return (box:call(1000, 20, 1 << 20, { n = n }))
    end
    local most = 0
    while used(most + 1) do most = most + 1 end
    assert.is_true(most > 900 and most < 1000, tostring(most))
    assert.equal(most, (function() local n = 0 while used(n + 1) do n = n + 1 end return n end)())
  end)

  it("has a long text is looked at more often: to compare two of them can take milliseconds", function()
    local function used(size, turns)
      local source = "return function(size, turns) local s = ('x'):rep(size) for _ = 1, turns do end end"
      local box = assert(kernel.sandbox(source, "script"))
      assert.is_true((box:call(100000, 20, 1 << 20, size, turns)))
      return (box:usage())
    end
    assert.equal(0, used(2000, 60) - used(2000, 0)) -- fewer than there are between two looks
    assert.is_true(used(65536, 60) - used(65536, 0) >= 48)
  end)

  teardown(function()
    if whose then
      io.write(("\n[the longest time over a limit of 50 ms: %.1f ms: %s]\n"):format(overshoot * 1000, whose))
    end
  end)
end)

describe("POLICY-8: a chunk that", function()
  -- Even loading is bounded: the parser sees at most 16 KiB, and the chunk is run under the budget.
  local CHUNKS = {
    { "loops while it is loaded", "budget", "while true do end" },
    { "has more than 16 KiB", "refused", ("-"):rep(16385) },
    { "is half a million brackets deep", "refused", ("("):rep(500000) },
    { "nests brackets as deep as 16 KiB allow", "failed", "return " .. ("("):rep(16000) },
    { "nests tables as deep as 16 KiB allow", "failed", "return " .. ("{"):rep(16000) },
    { "nests functions as deep as it can", "failed", ("return function() "):rep(900) },
    { "nests blocks as deep as it can", "failed", ("do "):rep(5000) },
    { "concatenates in one long expression", "failed", "return " .. ("a.."):rep(5000) .. "a" },
    { "asks thousands of questions", "failed", "return " .. ("a or "):rep(3000) .. "a" },
    { "has more locals than there are", "failed", ("local a;"):rep(300) },
    { "has more upvalues than there are", "failed",
      (function()
        local text = {}
        for f = 1, 2 do
          for i = 1, 150 do text[#text + 1] = ("local a%d_%d "):format(f, i) end
          text[#text + 1] = "local function f" .. f .. "() "
        end
        text[#text + 1] = "return "
        for f = 1, 2 do for i = 1, 150 do text[#text + 1] = ("a%d_%d,"):format(f, i) end end
        return table.concat(text) .. "1 end end"
      end)() },
    { "has a number of 16 000 digits", "failed", "return " .. ("9"):rep(16000) },
    { "has a text that never ends", "failed", "return [[" .. ("x"):rep(16000) },
    { "has a comment that never ends", "failed", "--[[" .. ("x"):rep(16000) },
    { "jumps to a label there is not", "failed", "goto nowhere" },
    { "breaks out of nothing", "failed", "break" },
    { "has thousands of constants in a table", "failed",
      "return {" .. (function()
        local items = {}
        for i = 1, 2000 do items[i] = i .. ".5" end
        return table.concat(items, ",")
      end)() .. "}" },
  }

  for _, case in ipairs(CHUNKS) do
    it(case[1] .. " is stopped or refused, with a reason", function()
      local ok, what, reason = sandbox.run(case[3])
      assert.same({ false, case[2], "string" }, { ok, what, type(reason) })
    end)
  end
end)
