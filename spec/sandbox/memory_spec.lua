--- Scripts that try to take all memory. The allocator stops them; how much they had is exact.
local kernel = require "keel.kernel"
local sandbox = require "support.sandbox"

local INSTRUCTIONS = 100000000 -- more than these scripts need
local BYTES = 16 << 20
local BLOCK = 1 << 20 -- no text and no part of a table is larger

local SCRIPTS = {
  { "doubles a text", "local s = 'x' while true do s = s .. s end" },
  { "asks for a gigabyte in one call", "('x'):rep(1e9)" },
  { "asks for nothing a great many times, and then for a little more", "(''):rep(1e18); ('x'):rep(1e18)" },
  { "asks for separators without end", "('').rep('', 1e18, 'x')" },
  { "repeats so often that the size overflows", "('xx'):rep(math.maxinteger // 2 + 2)" },
  { "pads with a width, many times", "local t = {} for i = 1, 1e9 do t[i] = ('%99d%d'):format(1, i) end" },
  { "keeps tables", "local t = {} for i = 1, 1e9 do t[i] = { i } end" },
  { "grows one table", "local t = {} for i = 1, 1e9 do t[i] = i end" },
  { "grows one table with odd keys", "local t = {} for i = 1, 1e9 do t['k' .. i] = i end" },
  { "chains tables", "local t while true do t = { t } end" },
  { "keeps closures", "local t = {} for i = 1, 1e9 do t[i] = function() return i end end" },
  { "makes garbage only", "while true do local _ = {} .. '' end", "failed" },
  { "throws away text after text", "local i = 0 while true do i = i + 1 local _ = ('x'):rep(1e5) .. i end" },
  { "goes deeper and deeper", "local function f() return 1 + f() end f()" },
  { "goes deeper inside pcall", "local function f() assert(pcall(f)) end f()", "failed" },
  { "goes deeper through sort", "local function f() table.sort({ 1, 2 }, f) end f()", "failed" },
  { "goes deeper through gsub", "local function f() ('x'):gsub('x', f) end f()", "failed" },
  { "unpacks far beyond its end", "local t = { table.unpack({}, 1, 99999) }" },
  { "unpacks all integers", "table.unpack({}, math.mininteger, math.maxinteger)", "failed" },
  { "passes on more and more", "local function f(...) return f(1, 2, 3, 4, 5, 6, 7, 8, ...) end f()" },
  { "packs more and more", "local t = {} while true do t = table.pack(t, table.unpack(t)) end" },
  { "joins a list that is long", "local t = {} for i = 1, 3e4 do t[i] = ('x'):rep(100) end table.concat(t)" },
  { "joins with a long separator", "local t = {} for i = 1, 100 do t[i] = '' end table.concat(t, ('x'):rep(1e5))" },
  { "joins a range without end", "table.concat({}, '', 1, math.maxinteger)", "failed" },
  { "replaces each character by many", "(('x'):rep(1e4)):gsub('.', ('y'):rep(1e4))" },
  { "replaces each character by the whole", "(('x'):rep(5e3)):gsub('.*', ('%0'):rep(1e3))" },
  { "collects all captures of a long text",
    "local t = {} for i in (('x'):rep(1e6)):gmatch '()' do t[i] = i .. 'x' end" },
  { "reads a long text into bytes", "local t = { (('x'):rep(1e6)):byte(1, -1) }", "failed" },
  { "swallows the refusal", "local t = {} while true do pcall(function() while true do t = { t } end end) end" },
  { "swallows the refusal of one block", "while true do pcall(string.rep, 'x', 1e9) end" },
  { "keeps errors", "local t = {} while true do t[#t + 1] = { pcall(error, ('x'):rep(1000)) } end" },
  { "makes a message out of a long text", "error(('x'):rep(1e6) .. nil)", "failed" },
  { "upper, lower, reverse and sub of a long text",
    "local s = ('x'):rep(9e5) while true do s = s:upper():lower():reverse():sub(1, -2) end" },
  { "makes texts out of numbers", "local t = {} for i = 1, 1e9 do t[tostring(i)] = true end" },
}

describe("POLICY-8: a script that", function()
  for _, case in ipairs(SCRIPTS) do
    it(case[1] .. " gets no more than its bytes", function()
      local box = assert(kernel.sandbox("return function()\n" .. case[2] .. "\nend", "script"))
      local ok, what, reason = box:call(INSTRUCTIONS, 20, BYTES)
      local limit = case[3] or "bytes"
      assert.is_false(ok)
      assert.equal(limit, what == "budget" and reason or what)
      local _, bytes = box:usage()
      -- What Lua still needs to unwind is granted, in small blocks.
      assert.is_true(bytes <= BYTES + 4096, tostring(bytes))
    end)
  end

  it("allocates is stopped at the same byte each time", function()
    local function peak(bytes)
      local box = assert(kernel.sandbox("return function() local t while true do t = { t } end end", "script"))
      assert.same({ false, "budget", "bytes", 1 }, { box:call(1e6 // 1, 20, bytes) })
      return select(2, box:usage())
    end
    for _, bytes in ipairs { 1000, 100000, 1 << 20 } do
      assert.equal(peak(bytes), peak(bytes))
      assert.is_true(peak(bytes) <= bytes + 4096)
    end
  end)

  it("makes one text of just under a mebibyte may, and one of more may not", function()
    assert.equal(900000, sandbox.eval "#('x'):rep(900000)")
    assert.same({ false, "budget", "bytes", 1, true },
      { sandbox.run(("return function() return #('x'):rep(%d) end"):format(BLOCK + 1)) })
    assert.same({ false, "budget", "bytes", 1, true },
      { sandbox.run "return function() local s = 'x' while true do s = s .. s end end" })
  end)

  it("leaves garbage behind does not add up over calls", function()
    local box = assert(kernel.sandbox("return function() local t for _ = 1, 5000 do t = { t } end return {} end", "s"))
    local highest = 0
    for _ = 1, 200 do
      assert.is_true((box:call(1000000, 20, 1 << 20)))
      local _, bytes = box:usage()
      highest = math.max(highest, bytes)
    end
    assert.is_true(highest < 1 << 20, tostring(highest))
  end)
end)
