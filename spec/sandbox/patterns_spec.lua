--- The sandbox's own pattern matcher does what Lua's does: on its manual's examples, and on a great many by chance.
local kernel = require "keel.kernel"
local sandbox = require "support.sandbox"

local SEED = tonumber(os.getenv "KEEL_SEED") or os.time()
local ROUNDS, PER_ROUND = 60, 100

-- A small generator of numbers, so that a seed says it all.
local state = SEED
local function chance(n)
  state = (state * 6364136223846793005 + 1442695040888963407)
  return (state >> 33) % n + 1
end

local function pick(list) return list[chance(#list)] end

local ITEMS = { "a", "b", ".", "%a", "%d", "%s", "%w", "%W", "%p", "%x", "%u", "%l", "%c", "%g", "[ab]", "[^a]",
  "[a-c]", "[%d_]", "[]a]", "[^]]", "[a-]", "[%a-z]", "[--%%]", "[a-%]]", "%.", "%%", "1", " ", "-", "$", "^", "]",
  "\0", "\200" }
local TIMES = { "", "", "", "*", "+", "-", "?" }
local ODD = { "%b()", "%bab", "%f[%w]", "%f[^a]", "()", "(", ")", "%1", "%2", "[", "%", "*" }

local LETTERS = { "a", "b", "c", "A", "1", " ", "(", ")", "-", ".", "%", "\0", "\200" }

local function pattern()
  local parts, open = {}, 0
  if chance(8) == 1 then parts[1] = "^" end
  for _ = 1, chance(5) do
    local kind = chance(12)
    if kind <= 8 then
      parts[#parts + 1] = pick(ITEMS) .. pick(TIMES)
    elseif kind == 9 then
      parts[#parts + 1] = "("
      open = open + 1
    elseif kind == 10 and open > 0 then
      parts[#parts + 1] = ")"
      open = open - 1
    else
      parts[#parts + 1] = pick(ODD)
    end
  end
  parts[#parts + 1] = (")"):rep(open)
  if chance(8) == 1 then parts[#parts + 1] = "$" end
  return table.concat(parts)
end

local function subject()
  local letters = {}
  for i = 1, chance(13) - 1 do letters[i] = pick(LETTERS) end
  return table.concat(letters)
end

local OPERATIONS = [[
  local function all(s, p)
    local found = {}
    for a, b in s:gmatch(p) do
      found[#found + 1] = tostring(a) .. "/" .. tostring(b)
      if #found > 50 then break end
    end
    return table.concat(found, ";")
  end
  local operations = {
    function(s, p, init) return s:find(p, init) end,
    function(s, p, init) return s:match(p, init) end,
    function(s, p) return all(s, p) end,
    function(s, p) return s:gsub(p, "<%0>") end,
    function(s, p) return s:gsub(p, "%1", 2) end,
    function(s, p) return s:gsub(p, { a = "x", b = false, ["1"] = 5 }) end,
    function(s, p) return s:gsub(p, function(a, b) return b and "[" .. tostring(a) .. "]" end) end,
    function(s, p, init) return s:find(p, init, true) end,
  }
]]

-- What each case gives, as one text a case; an error gives "error".
local BODY = OPERATIONS .. [[
  return function(cases)
    local results = {}
    for i, case in ipairs(cases) do
      local texts = {}
      for o, operation in ipairs(operations) do
        local got = table.pack(pcall(operation, case.s, case.p, case.init))
        for j = 2, got.n do got[j] = tostring(got[j]) end
        texts[o] = got[1] and table.concat(got, ",", 2, got.n) or "error"
      end
      results[i] = table.concat(texts, "|")
    end
    return results
  end
]]

-- Lua's own finds some mistakes only on the way to a match; the sandbox finds all when it reads the pattern.
local function is_refused(own)
  return own:find "error|error|error|error|error" ~= nil
end

-- Captures that are opened and not closed, outside of sets.
local function unclosed(p)
  local i, open = 1, 0
  while i <= #p do
    local c = p:sub(i, i)
    if c == "%" then
      i = i + (p:sub(i + 1, i + 1) == "b" and 3 or 1)
    elseif c == "[" then
      i = i + (p:sub(i + 1, i + 1) == "^" and 2 or 1) -- the first character belongs to the set, whatever it is
      repeat
        i = i + (p:sub(i, i) == "%" and 2 or 1)
      until i > #p or p:sub(i, i) == "]"
    end
    open = open + (c == "(" and 1 or c == ")" and -1 or 0)
    i = i + 1
  end
  return open
end

local function is_malformed(p)
  for from = 1, #p do -- Lua stops reading where nothing can match any more: let it start later
    for _, s in ipairs { "", "a", "aaaa", "abab", "(a)" } do
      if not pcall(string.match, s, p:sub(from)) then return true end
    end
  end
  return unclosed(p) ~= 0 or p:find "%%[12]" ~= nil
end

describe("The sandbox's patterns", function()
  it(("are Lua's, by chance (KEEL_SEED=%d)"):format(SEED), function()
    local by_lua = assert(load(BODY))()
    local compared, refused = 0, 0
    for _ = 1, ROUNDS do
      local cases = {}
      for i = 1, PER_ROUND do cases[i] = { s = subject(), p = pattern(), init = chance(7) - 3 } end
      local box = assert(kernel.sandbox(BODY, "script"))
      local ok, results, reason = box:call(1 << 40, 60, 1 << 30, cases)
      assert(ok, reason)
      for i, expected in ipairs(by_lua(cases)) do
        local case = cases[i]
        if results[i] == expected then
          compared = compared + 1
        else
          assert(is_refused(results[i]) and is_malformed(case.p),
            ("%q on %q from %d: %s, and by Lua: %s"):format(case.p, case.s, case.init, results[i], expected))
          refused = refused + 1
        end
      end
    end
    assert.is_true(compared > ROUNDS * PER_ROUND * 0.7, ("%d compared, %d refused"):format(compared, refused))
  end)

  it("know the manual's examples", function()
    assert.same({ "hello", "key", "value", "THE (quick) fox", 3, "x = 1", "2026" }, sandbox.result [[
      return function()
        local key, value = ("key = value"):match "^(%w+)%s*=%s*(%w+)$"
        local framed = ("the (quick) fox"):gsub("^%l+", string.upper)
        return { ("  hello "):match "^%s*(.-)%s*$", key, value, framed, select(2, ("aaa"):gsub("a", "b")),
          ("$name = $v"):gsub("%$(%w+)", { name = "x", v = 1 }), ("2026-11-21"):match "^(%d+)%-" }
      end]])
  end)

  it("find plain text, special characters and all", function()
    assert.same({ 2, 4, 3, 1 }, sandbox.result [[
      return function()
        local a, b = ("a.+b"):find(".+b", 1, true)
        return { a, b, (("a.+"):find("+", 1, true)), (("abc"):find "") }
      end]])
  end)
end)
