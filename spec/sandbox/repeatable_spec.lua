--- The same script and arguments give the same decision, and use the same, in every process.
local kernel = require "keel.kernel"
local lfs = require "lfs"
local process = require "support.process"
local sandbox = require "support.sandbox"
local support = require "support"

-- { what, the script }. Each returns a text as `reason`; `request.m` has 300 names.
local SCRIPTS = {
  -- Fills tables until every node is taken, frees some, and sees by `#` when the next key makes the table grow: so it
  -- finds where the address of a function lies among the nodes.
  { "asks where a function is", [[
    local small = { 1, 2, 3, 5, 6, 7, 8 }
    local function residue(key, k)
      local m, all, skip = (1 << k) - 1, {}, {}
      local base = m << 24
      for _, s in ipairs(small) do skip[s % m] = true end
      for r = 0, m - 1 do if not skip[r] then all[#all + 1] = r end end
      local function hit(from, to)
        local t = {}
        for i = 1, #all do t[base + all[i] ] = 1 end
        for _, s in ipairs(small) do t[s] = 1 end
        t[2 * base] = 1
        for i = from, to do t[base + all[i] ] = nil end
        t[key] = 1
        return #t ~= 8
      end
      local from, to = 1, #all
      if not hit(from, to) then return nil end
      while from < to do
        local mid = (from + to) // 2
        if hit(from, mid) then to = mid else from = mid + 1 end
      end
      return all[from]
    end
    return function()
      local out = {}
      for i, key in ipairs { type, string.rep, math.floor, pcall, null, function() end, {}, (ipairs {}) } do
        for _, k in ipairs { 5, 7 } do out[#out + 1] = tostring(residue(key, k)) end
      end
      return { reason = table.concat(out, " ") }
    end]] },
  { "takes names out of a table, and puts others in, until it grows", [[
    return function(request)
      local t, n, out = request.m, 0, {}
      for name in pairs(t) do
        n = n + 1
        if n % 3 == 0 then t[name] = nil end
        t[n] = n % 5 > 0 and n or nil
        out[#out + 1] = #t
      end
      return { reason = table.concat(out, " "):sub(1, 400) }
    end]] },
  { "has tables, functions and null as keys", [[
    return function(request)
      local out = {}
      for round = 1, 60 do
        local t = {}
        local function own() return round end
        for i, key in ipairs { type, {}, string.gmatch("a", "a"), (ipairs {}), own, null, pairs } do
          t[key] = true
          if i % 2 == 0 then t[key] = nil end
          for k = 1, round do if k % 7 > 0 then t[k] = k end end
        end
        out[#out + 1] = #t
      end
      return { reason = table.concat(out, " ") }
    end]] },
  { "allocates until its bytes are spent", [[
    return function(request)
      local t = request.m
      while true do t = { t, [t] = t } end
    end]] },
  { "compares, formats and reads as the C locale does", [[
    return function()
      local umlaut = "\u{e4}"
      return { reason = ("%s %s %.1f %s %s"):format("a" < "B", "ae" < umlaut, 0.5, tonumber "0.5", umlaut:upper()) }
    end]] },
}

local CHILD = [[
  local kernel = require "keel.kernel"
  if os.getenv "LOCPATH" then assert(os.setlocale "de_DE.UTF-8") end
  for i = 1, select("#", ...) do
    -- The order of these names is another one in each process, as their hashes are.
    local names = {}
    for k = 1, 300 do names["name " .. k * 7919 % 1000] = k end
    local box = assert(kernel.sandbox((select(i, ...)), "script"))
    for _ = 1, 2 do
      local ok, result, reason = box:call(1000000, 20, 1 << 20, { m = names, now = "x", b = 2, a = 1 })
      local said = (ok and result.reason or reason or "?"):gsub("\n", " ")
      say(tostring(ok), said, table.unpack({ box:usage() }, 1, 2))
    end
  end
]]

describe("F-48: every process gives the same answer, and counts the same, when a script", function()
  after_each(support.clean_up)

  local function answers(options)
    local sources, lines = {}, {}
    for i, script in ipairs(SCRIPTS) do sources[i] = script[2] end
    local child = support.spawn(CHILD, sources, options)
    for i = 1, 2 * #SCRIPTS do lines[i] = child:hear() end
    child:finish()
    return lines
  end

  local first, others

  lazy_setup(function()
    first, others = answers(), {}
    for i = 1, 4 do others[i] = answers() end
  end)

  for i, script in ipairs(SCRIPTS) do
    it(script[1], function()
      assert.equal(first[2 * i - 1], first[2 * i]) -- the second call of a box as the first
      for _, lines in ipairs(others) do assert.equal(first[2 * i], lines[2 * i]) end
    end)
  end

  it("runs in a host with another locale", function()
    local folder = ("%s/keel-order-%d"):format(os.getenv "TMPDIR" or "/tmp", process.pid())
    assert(lfs.mkdir(folder))
    finally(function() os.execute("rm -r " .. folder) end)
    os.execute(("localedef -i de_DE -f UTF-8 %s/de_DE.UTF-8 >%s/log 2>&1"):format(folder, folder))
    if lfs.attributes(folder .. "/de_DE.UTF-8", "mode") ~= "directory" then
      return pending "localedef cannot make de_DE.UTF-8 here"
    end
    assert.same(first, answers { env = { LOCPATH = folder } })
  end)

  it("is in one box of many", function()
    local boxes, seen = {}, {}
    local source = SCRIPTS[1][2]
    for i = 1, 40 do
      boxes[i] = assert(kernel.sandbox(source, "script"))
      local ok, result = boxes[i]:call(1000000, 20, 1 << 20, {})
      assert.is_true(ok)
      seen[result.reason .. table.concat({ boxes[i]:usage() }, " ")] = true
    end
    assert.is_truthy(next(seen))
    assert.is_nil(next(seen, (next(seen))))
  end)
end)

describe("F-46: what one instruction may touch is bounded:", function()
  it("a table's hash part has at most 2048 entries, its array part more", function()
    local fill = "return function(n) local t = {} for i = 1, n do t['k' .. i] = i end return { n = n } end"
    assert.equal(2048, sandbox.result(fill, 2048).n)
    assert.same({ false, "budget", "bytes", 1, true }, { sandbox.run(fill, 2049) })
    local list = "return function(n) local t = {} for i = 1, n do t[i] = i end return { n = #t } end"
    assert.equal(60000, sandbox.result(list, 60000).n)
  end)

  it("a walk through a table is charged for each entry", function()
    local function used(body)
      local make = "local t = {} for i = 1, 2000 do t['k' .. i] = i end "
      local source = "return function() " .. make .. body .. " return {} end"
      local box = assert(kernel.sandbox(source, "script"))
      assert.is_true((box:call(1000000, 20, 16 << 20)))
      return (box:usage())
    end
    local base = used ""
    assert.is_true(used "next(t)" - base >= 2000)
    assert.is_true(used "pairs(t)" - base >= 2000)
    assert.is_true(used "for i = 1, 10 do next(t) end" - base >= 20000)
    local list = used "local l = {} for i = 1, 1000 do l[i] = 1 end"
    for _, call in ipairs { "table.insert(l, 1, 0)", "table.remove(l, 1)", "table.concat(l)", "table.unpack(l)",
      "table.sort(l)" } do
      assert.is_true(used("local l = {} for i = 1, 1000 do l[i] = 1 end " .. call) - list >= 900, call)
    end
  end)

  it("the clock is read when the answer is there: one that comes too late is none", function()
    for _, source in ipairs { "return function() return {} end", "return function(r) return r end",
      "return function() return 1 end" } do
      local box = assert(kernel.sandbox(source, "script"))
      assert.is_true((box:check(1000, 20, 1 << 20)))
      local ok, what, limit = box:call(1000, 1e-9, 1 << 20, { a = { 1, 2, 3 } })
      assert.same({ false, "budget", "seconds" }, { ok, what, limit })
    end
  end)

  it("a message is found in a large error without walking through it", function()
    local box = assert(kernel.sandbox([[return function()
      local t, m = {}, 2047
      for i = 1, 2000 do t[i * m] = true end
      t.message = "it was that"
      error(t)
    end]], "script"))
    local ok, what, reason, line = box:call(100000, 20, 1 << 20)
    assert.same({ false, "failed", "it was that", 5 }, { ok, what, reason, line })
  end)
end)
