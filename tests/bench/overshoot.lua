-- How long scripts go on after their time is up: some 500 of different kinds, each made so that one instruction of
-- Lua's, one call of the library's, or a copy in or out takes as long as it can, under a budget that is bounded by time
-- and by 64 MiB alone.
--
-- Usage: lua5.4 tests/bench/overshoot.lua [SECONDS] [ROUNDS]
--   SECONDS  of the budget (default 0.05)
--   ROUNDS   over all scripts, of which each script's shortest overshoot counts: what else the machine does only adds
--            (default 1)
-- Prints the ten longest overshoots, and the script of the longest. Needs LUA_PATH and LUA_CPATH to find keel, built
-- with the release preset.
local kernel = require "keel.kernel"

local seconds, rounds = tonumber(arg[1]) or 0.05, tonumber(arg[2]) or 1
local scripts = {}

local function add(name, body, arguments)
  scripts[#scripts + 1] = { name = name, body = body, arguments = arguments or {} }
end

-- `fields` in $names of a text.
local function fill(text, fields) return (text:gsub("%$(%w+)", fields)) end

-- --- Tables whose keys collide ---------------------------------------------------------------------------------------

local COLLIDING = "local t, m = {}, $m for i = 1, $n do t[i * m] = true end "
for k = 6, 15 do
  for what, size in pairs { half = (1 << k - 1) + 1, full = (1 << k) - 1 } do
    local fields = { m = ("%d"):format((1 << k) - 1), n = ("%d"):format(size), k = ("%d"):format(1 << k) }
    local function colliding(name, body)
      add(("%s, 2^%d nodes, %s"):format(name, k, what), fill(COLLIDING .. body, fields))
    end
    colliding("fills tables that collide", "while true do local t = {} for i = 1, $n do t[i * m] = true end end")
    colliding("fills one anew, key by key",
      "local r = 0 while true do r = r + 1 t[r * m] = nil t[($k + r) * m] = true end")
    colliding("reads the end of a chain", "while true do local _ = t[$k * 7 * m] end")
    colliding("next of a chain", "while true do next(t) end")
    colliding("pairs of a chain", "while true do for _ in pairs(t) do end end")
    colliding("raises one", "error(t)")
    colliding("raises one again and again", "while true do pcall(error, t) end")
    colliding("returns one", "return t")
    colliding("takes the length", "while true do local _ = #t end")
  end
end

-- --- Texts ----------------------------------------------------------------------------------------------------------

for k = 12, 20, 2 do
  for what, character in pairs { zeros = "\\0", letters = "x" } do
    local make = fill("local s = ('$c'):rep($n) local r = s .. 'y' local q = s .. 'z' ",
      { c = character, n = ("%d"):format((1 << k) - 64) })
    for name, body in pairs {
      ["compares"] = "while true do local _ = r < q end",
      ["compares for equality"] = "while true do local _ = r == q end",
      ["sorts"] = "local t = {} for i = 1, 50 do t[i] = i % 2 == 0 and r or q end while true do table.sort(t) end",
      ["joins"] = "local n = 0 while true do local _ = s .. n n = n + 1 end",
      ["joins many"] = "while true do local _ = s .. r .. q .. s .. r .. q .. s .. r .. q end",
      ["reverses"] = "while true do local _ = s:reverse():upper():lower() end",
      ["cuts"] = "while true do local _ = s:sub(2) end",
      ["concatenates"] = "local t = { s, s, s } while true do pcall(table.concat, t, r) end",
      ["reads as a number"] = "while true do tonumber(s, 36) tonumber(s) end",
      ["formats"] = "while true do pcall(string.format, '%s%s', s, r) end",
      ["takes for a pattern"] = "while true do pcall(string.find, s, s) end",
      ["finds plainly"] = "while true do s:find(q, 1, true) end",
      ["raises"] = "while true do pcall(error, s) end",
      ["raises by joining"] = "while true do pcall(function() return s .. nil end) end",
      ["uses as keys"] = "local t, i = {}, 0 while true do i = i + 1 t[s .. i % 8] = i end",
      ["reads bytes"] = "while true do pcall(string.byte, s, 1, -1) end",
      ["walks"] = "while true do for c in s:gmatch '.' do end end",
      ["replaces"] = "while true do s:gsub('.', { x = 'y' }) end",
      ["replaces by a function"] = "while true do s:gsub('.', function(c) return c end) end",
    } do
      add(("%s %d %s"):format(name, 1 << k, what), make .. body)
    end
  end
end

for _, pattern in ipairs { "('a*'):rep(30) .. 'b'", "('.-'):rep(20) .. 'b'", "('a?'):rep(120) .. 'b'", "'%b()'",
  "('(%w*)'):rep(20) .. '!'", "'(.*)(.*)%1%2b'", "'%f[b]b'", "'.*.*.*.*.*b'", "'[^b]-[^b]-b'" } do
  for k = 5, 15, 5 do
    for _, how in ipairs { "find", "match", "gsub" } do
      local character, more = pattern == "'%b()'" and "(" or "a", how == "gsub" and ", ''" or ""
      add(("%s by the pattern %s in %d"):format(how, pattern, 1 << k),
        ("local s, p = ('%s'):rep(%d), %s while true do s:%s(p%s) end"):format(character, 1 << k, pattern, how, more))
    end
  end
end

-- --- Lists, stacks, memory -------------------------------------------------------------------------------------------

local powers = {}
for i = 3, 30 do powers[#powers + 1] = ("[%d] = 1"):format(1 << i) end
local LISTS = {
  ["a sparse list"] = "local t = { 1, 2, 3, 4, [5] = 1, " .. table.concat(powers, ", ") .. " } ",
  ["a long list"] = "local t = {} for i = 1, 6e4 do t[i] = i end ",
  ["a list in a hash part"] = "local t = {} for i = 2000, 1, -1 do t[i] = i end ",
}
for name, make in pairs(LISTS) do
  for what, body in pairs {
    ["remove from"] = "table.remove(t, 1)", ["insert into"] = "table.insert(t, 1, 0)", ["sort"] = "table.sort(t)",
    ["sort by a function"] = "table.sort(t, function(a, b) return b < a end)", ["join"] = "table.concat(t)",
    ["unpack"] = "table.unpack(t)", ["pack"] = "t = table.pack(table.unpack(t, 1, 1e5)) t.n = nil",
    ["length of"] = "return #t", ["ipairs of"] = "for _ in ipairs(t) do end", ["next of"] = "next(t)",
    ["pairs of"] = "for _ in pairs(t) do end", ["select from"] = "select(-1, table.unpack(t))",
    ["copy"] = "local c = { table.unpack(t) }", ["most of"] = "math.max(table.unpack(t))",
    ["characters of"] = "string.char(table.unpack(t))",
  } do
    add(what .. " " .. name, make .. "while true do pcall(function() " .. body .. " end) end")
  end
end

for what, body in pairs {
  ["nothing"] = "while true do end",
  ["nested tables"] = "local t = {} while true do t = { t } end",
  ["garbage"] = "while true do local _ = {} end",
  ["closures"] = "local t = {} for i = 1, math.huge do t[i] = function() return i end end",
  ["short texts"] = "local i = 0 while true do i = i + 1 local _ = 'x' .. i end",
  ["short texts that stay"] = "local t, i = {}, 0 while true do i = i + 1 t[i] = 'x' .. i end",
  ["long texts that stay"] = "local t, i = {}, 0 while true do i = i + 1 t[i] = ('x'):rep(1e5) .. i end",
  ["texts of texts"] = "local s = 'x' while true do local r = s .. s if #r < 1e6 then s = r end end",
  ["recursion"] = "local function f() return 1 + f() end while true do pcall(f) end",
  ["recursion with arguments"] = "local function f(...) return f(1, ...) end while true do pcall(f) end",
  ["recursion through pcall"] = "local function f() pcall(f) pcall(f) end while true do f() end",
  ["recursion through gsub"] = "local function f() ('xx'):gsub('.', f) end while true do pcall(f) end",
  ["recursion through sort"] = "local function f() table.sort({ 1, 2, 3 }, f) end while true do pcall(f) end",
  ["messages"] = "while true do pcall(function() local x = nil + 1 end) end",
  ["numbers as texts"] = "local i = 0.5 while true do i = i + 1 tostring(i) end",
  ["formatting"] = "while true do ('%99.99f'):format(1e308) end",
  ["powers"] = "local x = 1.1 while true do x = x ^ 1.0001 math.fmod(1e308, x) math.exp(x) end",
  ["captures"] = "local p = ('()'):rep(32) while true do (('x'):rep(100)):gsub(p, '%1%2%3') end",
  ["a chunk of tables"] = "local t = { " .. ("{},"):rep(4000) .. " } while true do end",
  ["many constants"] = (function()
    local t = {}
    for i = 1, 1200 do t[i] = ("t.k%d = %d"):format(i, i) end
    return "local t = {} while true do " .. table.concat(t, " ") .. " end"
  end)(),
} do
  add(what, body)
end

-- --- What is shown -----------------------------------------------------------------------------------------------

local function documents(name, make)
  local list = {}
  for i = 1, 10 do list[i] = { run_id = "r" .. i, metadata = make(i) } end
  add("is shown " .. name, "while true do end", { { options = {} }, list })
  add("returns what was shown: " .. name,
    "local _, l = ... local r = {} for _, x in ipairs(l) do r[#r + 1] = x.metadata end return r",
    { { options = {} }, list })
end
documents("long lists", function()
  local t = {}
  for i = 1, 1900 do t[i] = i end
  return t
end)
documents("many names", function(i)
  local t = {}
  for k = 1, 990 do t["name " .. i .. " " .. k] = "value " .. i .. " " .. k end
  return t
end)
documents("long texts", function() return { ("\0"):rep(60000) } end)
documents("numbers that collide", function()
  local t = {}
  for k = 1, 900 do t[k * 1023] = k end
  return t
end)

-- --- The measurement ------------------------------------------------------------------------------------------------

local INSTRUCTIONS, BYTES = math.maxinteger, 64 << 20
local ends = {}
for _ = 1, rounds do
  for _, script in ipairs(scripts) do
    local box = assert(kernel.sandbox("return function(...)\n" .. script.body .. "\nend", "script"))
    collectgarbage() -- the host's own is not the script's
    local begun = kernel.monotonic()
    local ok, what, reason = box:call(INSTRUCTIONS, seconds, BYTES, table.unpack(script.arguments))
    local over = kernel.monotonic() - begun - seconds
    local how = ok and "returned" or what == "budget" and reason or what
    assert(not ok or over <= 0, script.name) -- an answer that comes too late is none
    ends[how] = (ends[how] or 0) + 1
    script.over = math.min(script.over or math.huge, over)
  end
end
table.sort(scripts, function(a, b) return a.over > b.over end)
local told = {}
for how, count in pairs(ends) do told[#told + 1] = ("%s %d"):format(how, count) end
table.sort(told)
print(("%d scripts of %g ms: %s"):format(#scripts, seconds * 1000, table.concat(told, ", ")))
for i = 1, 10 do print(("%7.2f ms over: %s"):format(scripts[i].over * 1000, scripts[i].name)) end
print("the longest:\n" .. scripts[1].body:sub(1, 300))
