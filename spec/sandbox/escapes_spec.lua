--- Scripts that try to get out: at what a policy has no business with, at other states, at the machine below Lua.
local kernel = require "keel.kernel"
local sandbox = require "support.sandbox"

describe("POLICY-9: a script", function()
  local ABSENT = { "io", "os", "load", "loadstring", "loadfile", "dofile", "require", "package", "debug", "coroutine",
    "xpcall", "setmetatable", "getmetatable", "rawset", "collectgarbage", "print", "warn", "utf8", "setfenv",
    "getfenv", "newproxy", "module", "unpack", "jit", "bit32", "arg", "_G", "_VERSION", "keel", "string.dump",
    "string.pack", "string.unpack", "string.packsize", "table.move", "math.random", "math.randomseed" }

  for _, name in ipairs(ABSENT) do
    it("has no " .. name, function()
      assert.is_nil(sandbox.eval(name))
    end)
  end

  it("has what is on the list, and no more", function()
    local source = [[
      local names = {}
      for _, name in ipairs { "assert", "error", "ipairs", "math", "next", "null", "pairs", "pcall", "rawequal",
        "rawget", "rawlen", "select", "string", "table", "tonumber", "tostring", "type" } do names[name] = true end
      return function(globals)
        for name in pairs(names) do assert(globals[name], name) end
        return { missing = nil, pairs_of_string = next(string) == nil, first = next(math) }
      end
    ]]
    local globals = {}
    for name in pairs(_G) do globals[name] = sandbox.eval(name .. " ~= nil") or nil end
    globals.null = sandbox.eval "null ~= nil"
    assert.same({ pairs_of_string = true }, sandbox.result(source, globals))
  end)

  -- { what, the body, words of the error }
  local REFUSED = {
    { "set a global", "x = 1", "read-only: 'x'" },
    { "set a global by its own environment", "pcall = nil", "read-only" },
    { "change a library", "string.rep = nil", "read-only: 'rep'" },
    { "add to a library", "math.random = function() return 4 end", "read-only" },
    { "insert into a library", "table.insert(string, 1)", "read-only" },
    { "remove from a library", "table.remove(table)", "read-only" },
    { "sort a library", "table.sort(string)", "read-only" },
    { "index a text into its metatable", "local _ = (''):__index()", "attempt to call a nil value" },
    { "write through a text", "local s = '' s.rep = 1", "attempt to index a string value" },
    { "close a value", "local x <close> = {}", "non-closable" },
    { "close a text", "local x <close> = 'x'", "non-closable" },
    { "close through a generic for", "for _ in ipairs, {}, nil, {} do end", "non-closable" },
    { "index a missing metatable", "local t = {} local _ = t.__metatable.__index", "attempt to index a nil value" },
    { "give a table a metamethod by name", "local t = { __index = function() end, __call = error } t()",
      "attempt to call a table value" },
    { "get a finalizer by name", "local t = { __gc = error } t = t + 1", "arithmetic on a table value" },
    { "compare tables by a metamethod", "local _ = { __lt = error } < { __lt = error }", "compare two table values" },
    { "see an address in a format", "local _ = ('%p'):format({})", "no '%p'" },
    { "see an address through flags", "('%-20p'):format({})", "no '%p'" },
    { "quote", "('%q'):format('x')", "no '%q'" },
    { "go through tables by address", "for _ in pairs { [{}] = 1 } do end", "no order" },
    { "go through functions by address", "next { [pcall] = 1 }", "no order" },
    { "call null", "null()", "attempt to call a userdata value" },
    { "index null", "local _ = null.x", "attempt to index a userdata value" },
    { "write to null", "null.x = 1", "attempt to index a userdata value" },
    { "yield", "coroutine.yield()", "index a nil value (global 'coroutine')" },
    { "forge a pattern that ends in nothing", "('x'):find '%'", "malformed pattern" },
    { "forge a set that does not end", "('x'):find '[a'", "malformed pattern" },
    { "forge a set that ends in nothing", "('x'):find '[%'", "malformed pattern" },
    { "forge a capture that is not there", "('x'):find '%1'", "invalid capture index" },
    { "forge a capture that is open still", "('xx'):find '(%1'", "invalid capture index" },
    { "close a capture that is not open", "('x'):match ')'", "invalid pattern capture" },
    { "leave a capture open", "('x'):find '('", "unfinished capture" },
    { "open too many captures", "('x'):find(('()'):rep(33))", "too many captures" },
    { "give a pattern of two KiB", "('x'):find(('x*'):rep(1000))", "1024 bytes" },
    { "balance nothing", "('x'):find '%bx'", "malformed pattern" },
    { "have a frontier of nothing", "('x'):find '%f'", "malformed pattern" },
    { "replace by what is not there", "('x'):gsub('x', '%2')", "invalid capture index" },
    { "replace by an odd escape", "('x'):gsub('x', '%z')", "invalid use of '%'" },
    { "replace by a table", "('x'):gsub('x', { x = {} })", "invalid replacement value" },
  }

  for _, case in ipairs(REFUSED) do
    it("cannot " .. case[1], function()
      assert.equal(2, sandbox.fails(case[3], "return function()\n" .. case[2] .. "\nend"))
    end)
  end

  it("is text: bytecode is refused, with a stripped one, and one that begins later", function()
    local function chunk() return { admit = true } end
    for _, code in ipairs { string.dump(chunk), string.dump(chunk, true), "\27Lua", "\27" } do
      sandbox.fails("bytecode", code)
    end
    sandbox.fails("near", "#!\n" .. string.dump(chunk))
    sandbox.fails("near", "\n" .. string.dump(chunk))
  end)

  it("cannot name its environment, in any way", function()
    for _, source in ipairs { "_ENV = {}", "local _ENV <const> = {} x()", "local _ENV = 'x' return y.z",
      "return function(_ENV) return x end", "-- _ENV", "return _ENV._ENV" } do
      sandbox.fails("_ENV", source)
    end
  end)

  it("may call an iterator with anything", function()
    assert.same({ "a", 1, "b", 2, "x" }, sandbox.result [[
      return function()
        local each, t = pairs { a = 1, b = 2 }, {}
        t[1], t[2] = each(5)
        t[3], t[4] = each("no table", nil, {})
        assert(each() == nil and each(null) == nil)
        t[5] = ("x"):gmatch(".")(5, 6)
        pcall(ipairs {}, 5, 6)
        return t
      end]])
  end)

  it("sees no addresses", function()
    assert.same({ "table", "function", "function", "null", "table" }, sandbox.result [[
      return function()
        return { tostring({}), tostring(pcall), tostring(function() end), tostring(null), ("%s"):format({}) }
      end]])
  end)

  it("cannot carry anything from one call to the next", function()
    local box = assert(kernel.sandbox([[
      local count, seen = 0, {}
      return function(request)
        count = count + 1
        seen[#seen + 1] = request.id
        request.id = "changed"
        return { count, #seen, seen[1] }
      end]], "script"))
    for _, id in ipairs { "a", "b", "c" } do
      assert.same({ true, { 1, 1, id } }, { box:call(1000000, 20, 1 << 20, { id = id }) })
    end
  end)

  it("decides the same each time, and in each state, of the same picture", function()
    local source = [[
      return function(request)
        local text = {}
        for name, value in pairs(request.metadata) do text[#text + 1] = name .. "=" .. tostring(value) end
        return { table.concat(text, " "), next(request.metadata) }
      end]]
    local metadata = {}
    for i = 1, 50 do metadata["name" .. i * 7919 % 1000] = i end
    local first = sandbox.result(source, { metadata = metadata })
    for _ = 1, 20 do assert.same(first, sandbox.result(source, { metadata = metadata })) end
  end)

  it("goes through a table in the order of its keys", function()
    assert.equal("-1.5 1 2 2.5 10 a aa b false true ", sandbox.result([[
      return function()
        local text, t = "", { 1, 1, b = 1, aa = 1, a = 1, [10] = 1, [2.5] = 1, [-1.5] = 1, [true] = 1, [false] = 1 }
        for key in pairs(t) do text = text .. tostring(key) .. " " end
        return { text }
      end]])[1])
  end)

  it("may take a table apart while it goes through it", function()
    assert.same({ "a", "c" }, sandbox.result [[
      return function()
        local t, seen = { a = 1, b = 2, c = 3 }, {}
        for key in pairs(t) do
          seen[#seen + 1] = key
          t.b, t.d = nil, 4
        end
        return seen
      end]])
  end)

  it("leaves the host as it was: hook, globals, strings, metatables", function()
    local function own() end
    local strings = getmetatable("").__index
    local names = 0
    for _ in pairs(_G) do names = names + 1 end
    debug.sethook(own, "", 1000000)
    sandbox.run "return function() while true do end end"
    local hook, _, count = debug.gethook()
    debug.sethook()
    assert.same({ own, 1000000 }, { hook, count })
    assert.equal(string, strings)
    for _ in pairs(_G) do names = names - 1 end
    assert.equal(0, names)
    assert.same({ "X", 3 }, { ("x"):upper(), (" x "):len() })
  end)

  -- Programs that crash, or read wild memory in, some Lua 5.4, from its list of bugs: here they end in some way.
  local BUGS = {
    ["5.4.0: negation of the least integer in a varargs call"] = "local _ = select(math.mininteger, 1)",
    ["5.4.2: a long jump over many constants"] =
      "local t = {} for i = 1, 300 do t[i] = i end if t[1] then return t[300] end",
    ["5.4.3: an error while an error message is made, deep in the stack"] = [[
      local function loop() local _ = ("x" .. {})() end
      local function deep(n) if n == 0 then pcall(loop) return 0 end return 1 + deep(n - 1) end
      for i = 150, 250 do pcall(deep, i) end]],
    ["5.4.4: a C stack overflow while an error is handled"] = [[
      local function again() local ok, e = pcall(again) local _ = e .. ("x"):rep(200) error(e) end
      pcall(again)]],
    ["5.4.4: an error message about a name far away"] = [[
      local function f() local a = nil; return a.b.c.d end
      for _ = 1, 100 do local _, e = pcall(f) pcall(error, e, 100) pcall(error, e, -1) end]],
    ["5.4.4: constants in bitwise operations"] = "local x = 7 local _ = 0xF0000000000000AA & x | ~0 ~ 1 << 63 >> x",
    ["5.4.4: a function with too many constants"] =
      "local x; x = {" .. (function()
        local items = {}
        for i = 1, 1200 do items[i] = ("%q,x and x.k%d"):format("s" .. i, i) end
        return table.concat(items, ","):sub(1, 15000):match "^(.*),"
      end)() .. "}",
    ["5.4.4: integer for loops at the edges"] = [[
      for i = math.maxinteger - 1, math.maxinteger do local _ = i end
      for i = math.mininteger, math.mininteger + 1 do local _ = i end
      for _ = 1, 10, math.mininteger do end]],
    ["5.4.4: a long concatenation of numbers"] = "local s = '' for i = 1, 200 do s = i .. 1.5 .. s .. i .. -0.0 end",
    ["5.4.4: formats at the edges"] = "for _, f in ipairs { '%99.99f', '%.99g', '%a', '%.20s', '%5c' } do "
      .. "pcall(string.format, f, 1e308) pcall(string.format, f, 'x') pcall(string.format, f) end",
    ["5.4.4: a format with a width of three digits"] = "pcall(string.format, '%100d', 1) pcall(string.format, '%', 1)",
    ["5.4.4: a varargs function that is called with thousands"] =
      "local t = {} for i = 1, 250 do t[i] = i end local function f(...) local a, b = ... return select('#', ...) end "
      .. "f(table.unpack(t, 1, 250))",
    ["5.4.4: locals closed by goto"] = [[
      local fs = {}
      do
        local i = 1
        ::top::
        local x = i
        fs[i] = function() x = x + 1 return x end
        i = i + 1
        if i < 50 then goto top end
      end
      for _, f in ipairs(fs) do f() end]],
  }

  for what, body in pairs(BUGS) do
    it("does no harm with a bug of " .. what, function()
      local ok, kind = sandbox.run("return function()\n" .. body .. "\nend")
      assert.is_true(ok or kind == "failed" or kind == "budget", kind)
      assert.equal(1, sandbox.eval "1")
    end)
  end
end)
