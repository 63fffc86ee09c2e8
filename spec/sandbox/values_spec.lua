--- Values that cross: copies, bounded, without metamethods; and what a script is shown of what is too large.
local keel = require "keel"
local kernel = require "keel.kernel"
local sandbox = require "support.sandbox"

describe("POLICY-8: what a script returns", function()
  it("is a copy: nested tables, integers, floats, texts with zero bytes, booleans, null", function()
    local given = { a = { b = { 1, 2.5, "x\0y", true, false } }, big = math.maxinteger, none = keel.null }
    local result = sandbox.result("return function(r) return { r = r, made = { 1, { 2 } } } end", given)
    assert.same({ r = given, made = { 1, { 2 } } }, result)
    assert.equal("integer", math.type(result.r.big))
    assert.not_equal(given, result.r)
  end)

  it("may be nothing", function()
    assert.same({ true }, { sandbox.run "return function() end" })
    assert.same({ true, 5 }, { sandbox.run "return function() return 5, 6 end" })
  end)

  -- { what, the expression, words of the reason }
  local REFUSED = {
    { "a function in it", "{ f = pcall }", "has a function" },
    { "a function for it", "pcall", "has a function" },
    { "a table as a key", "{ [{}] = 1 }", "has a key that is neither" },
    { "itself in it", "(function() local t = {} t.t = t return t end)()", "holds itself" },
    { "nine levels", "{{{{{{{{{}}}}}}}}}", "nested more than 8" },
    { "2 001 values", "(function() local t = {} for i = 1, 1000 do t[i] = i end return t end)()", "2000 values" },
    { "one table two thousand times", "(function() local e, t = {}, {} for i = 1, 1001 do t[i] = e end return t end)()",
      "2000 values" },
    { "more than 64 KiB of text", "{ ('x'):rep(65537) }", "64 KiB" },
    { "64 KiB of text in pieces",
      "(function() local t = {} for i = 1, 700 do t[i] = ('x'):rep(100) end return t end)()", "64 KiB" },
    { "a library in it", "{ string, pcall }", "has a function" },
  }
  for _, case in ipairs(REFUSED) do
    it("may not have " .. case[1], function()
      sandbox.fails(case[3], "return function() return " .. case[2] .. " end")
    end)
  end

  it("may be just as large as the bounds", function()
    assert.equal(8, select("#", sandbox.result "return function() return {{{{{{{{}}}}}}}} end") * 8)
    assert.equal(999, #sandbox.result "return function() local t = {} for i = 1, 999 do t[i] = i end return t end")
    assert.equal(65536, #sandbox.result("return function() return { ('x'):rep(65536) } end")[1])
  end)

  it("shows a library as an empty table: nothing of it leaves", function()
    assert.same({ s = {} }, sandbox.result "return function() return { s = string } end")
  end)
end)

describe("What a script is shown", function()
  it("is a copy: what it changes, the host does not see", function()
    local request, inflight = { metadata = { k = "v" } }, { { run_id = "a" }, { run_id = "b" } }
    sandbox.result([[return function(request, inflight)
      request.metadata.k, request.new, inflight[1].run_id, inflight[2] = "w", 1, "z", nil
      return {}
    end]], request, inflight)
    assert.same({ { metadata = { k = "v" } }, { { run_id = "a" }, { run_id = "b" } } }, { request, inflight })
  end)

  it("is read without metamethods", function()
    local trap = setmetatable({ x = 1 }, {
      __index = function() error "called" end, __pairs = function() error "called" end,
      __len = function() error "called" end,
    })
    assert.same({ 1, [3] = 0 }, sandbox.result("return function(r) return { r.x, r.y, #r } end", trap))
    assert.same({ { x = 1 } }, sandbox.result("return function(r) return { r.t } end", { t = trap }))
  end)

  it("comes back as the host's own records, all of 256 if it must be, and not as what became of the copies", function()
    local inflight = {}
    for i = 1, 256 do inflight[i] = { run_id = "r" .. i, metadata = { i }, a = 1, b = 2, c = 3, d = 4, e = 5 } end
    local result = sandbox.result([[return function(_, inflight)
      inflight[1].run_id = "forged"
      return { cancel = inflight, after = { inflight[256], inflight[3] }, reuse = inflight[2] }
    end]], {}, inflight)
    assert.equal(256, #result.cancel)
    for i = 1, 256 do assert.equal(inflight[i], result.cancel[i]) end
    assert.equal("r1", result.cancel[1].run_id)
    assert.equal(inflight[256], result.after[1])
    assert.equal(inflight[2], result.reuse)
  end)

  -- A document that somebody attached to a run must not make every decision about its thread fail.
  local LARGE = {
    ["too deep"] = (function() local t = {} for _ = 1, 9 do t = { t } end return t end)(),
    ["endless"] = (function() local t = {} t.t = t return t end)(),
    ["too many values"] = (function() local t = {} for i = 1, 2000 do t[i] = i end return t end)(),
    ["too long for one block of memory"] = (function() local t = {} for i = 1, 70000 do t[i] = 0 end return t end)(),
    ["too much text"] = { ("x"):rep(70000) },
    ["no document at all"] = { f = print },
  }
  for what, document in pairs(LARGE) do
    it("lacks a document that is " .. what .. ", and says so", function()
      local run = { run_id = "a", kwargs = document, metadata = { k = "v" } }
      assert.same({ "a", { "kwargs" }, "v" }, sandbox.result([[return function(_, inflight)
        local run = inflight[1]
        assert(run.kwargs == nil)
        return { run.run_id, run.omitted, run.metadata.k }
      end]], {}, { run }))
    end)
  end

  it("lacks any number of documents that are too large, and they cost it nothing", function()
    local list, names, inflight = {}, {}, {}
    for i = 1, 2001 do list[i], names["name " .. i] = {}, { x = {} } end
    for i = 1, 256 do
      inflight[i] = { run_id = "r" .. i, metadata = list, kwargs = names, token_usage_by_model = { ("x"):rep(60000),
        ("y"):rep(60000) } }
    end
    local ok, result, reason = sandbox.call({ bytes = 1 << 20 },
      "return function(_, inflight) return { #inflight, #inflight[256].omitted } end", {}, inflight)
    assert.same({ true, { 256, 3 } }, { ok, result, reason })
  end)

  it("lacks documents beyond a mebibyte in all, and every record is there", function()
    local inflight = {}
    for i = 1, 100 do inflight[i] = { run_id = "r" .. i, metadata = { text = ("x"):rep(60000) } } end
    local seen = sandbox.result([[return function(_, inflight)
      local shown, omitted = 0, 0
      for _, run in ipairs(inflight) do
        if run.metadata then shown = shown + 1 end
        if run.omitted then omitted = omitted + 1 end
      end
      return { #inflight, shown, omitted }
    end]], {}, inflight)
    assert.same({ 100, 17, 83 }, seen)
  end)

  it("counts against its bytes", function()
    local inflight = {}
    for i = 1, 256 do inflight[i] = { run_id = ("r"):rep(200) .. i } end
    local ok, what, limit = sandbox.call({ bytes = 10000 }, "return function() end", {}, inflight)
    assert.same({ false, "budget", "bytes" }, { ok, what, limit })
  end)
end)

describe("A script in use", function()
  local SOURCE = "return function() local t = {} for i = 1, 900 do t[i] = 'a text of its own: ' .. i end return t end"

  -- While the answer is copied the host may collect garbage, and so run anything.
  it("cannot be called from a finalizer of the host's, and goes on as if it had not been tried", function()
    local box = assert(kernel.sandbox(SOURCE, "script"))
    local answers, active, refused = {}, true, "it is being called already"
    local function arm()
      setmetatable({}, { __gc = function()
        if not active then return end
        local ok, _, reason = box:call(1000000, 20, 16 << 20)
        answers[ok and "called" or reason] = true
        arm()
      end })
    end
    local pause, step = collectgarbage("setpause", 1), collectgarbage("setstepmul", 1000)
    arm()
    local calls = 0
    repeat
      local ok, result = box:call(1000000, 20, 16 << 20)
      assert(ok, result)
      for i = 1, 900 do assert(result[i] == "a text of its own: " .. i) end
      calls = calls + 1
    until answers[refused] or calls == 20000
    active = false
    collectgarbage("setpause", pause)
    collectgarbage("setstepmul", step)
    assert.is_true(answers[refused])
  end)

  it("is called no more once it is collected, whoever still has it", function()
    local box = assert(kernel.sandbox(SOURCE, "script"))
    assert.is_true((box:call(1000000, 20, 16 << 20)))
    getmetatable(box).__gc(box)
    assert.same({ false, "failed", "its state is closed" }, { box:call(1000000, 20, 16 << 20) })
    assert.same({ false, "failed", "its state is closed" }, { box:check(1000000, 20, 16 << 20) })
  end)

  it("takes as many arguments as the stack has room for", function()
    local many = {}
    for i = 1, 1000 do many[i] = i end
    assert.equal(1000, sandbox.result("return function(...) return select('#', ...) end", table.unpack(many)))
  end)
end)

describe("The errors of a script", function()
  local function failure(body) return { sandbox.run("return function()\n" .. body .. "\nend") } end

  it("have the line and the reason", function()
    assert.same({ false, "failed", "attempt to index a nil value (local 'x')", 2 }, failure "local x; x.y = 1")
    assert.same({ false, "failed", "no idea", 2 }, failure "error 'no idea'")
    assert.same({ false, "failed", "no idea", 2 }, failure "error('no idea', 0)")
    assert.same({ false, "failed", "no idea", 2 }, failure "error { message = 'no idea' }")
    assert.same({ false, "failed", "it raised a table", 2 }, failure "error {}")
    assert.same({ false, "failed", "it raised a nil", 2 }, failure "error()")
    assert.same({ false, "failed", "syntax error near 'is'", 2 }, { sandbox.run "\nthis is no Lua" })
    assert.same({ false, "failed", "the script must return a function, or a table with the function decide" },
      { sandbox.run "return {}" })
  end)

  it("have the line of the script when they come from a function of the library", function()
    assert.same({ false, "failed", "attempt to index a nil value", 3 }, failure "\nfor _ in ipairs(nil) do end")
    assert.same({ false, "failed", "attempt to compare two table values", 3 }, failure "\ntable.sort { {}, {} }")
    assert.same({ false, "failed", "bad argument #1 to 'format' (number has no integer representation)", 3 },
      failure "\nreturn ('%d'):format(1.5)")
    local sources = { gsub = "('x'):gsub('x', f)", sort = "table.sort({ 1, 2 }, f)", pcall = "select(2, pcall(f))" }
    for name, call in pairs(sources) do
      local result = failure(("local function f()\n local got = %s\n return error(got)\n end\n f()"):format(call))
      assert.is_true(result[2] == "failed" and math.type(result[4]) == "integer", name)
    end
  end)

  it("are cut: nobody reads a novel", function()
    local result = failure "error(('x'):rep(100000))"
    assert.equal(500, #result[3])
  end)

  it("are the host's business only when the host is out of memory", function()
    assert.is_true(pcall(kernel.sandbox, "return 1", "script"))
    assert.is_false(pcall(kernel.sandbox, 1, "script"))
    assert.is_false(pcall(kernel.sandbox, "return 1"))
    local box = kernel.sandbox("return function() end", "script")
    for _, budget in ipairs { { 0, 1, 1 }, { 1, 0, 1 }, { 1, 1, 0 }, { 1, 0 / 0, 1 } } do
      assert.is_false(pcall(box.call, box, table.unpack(budget)))
    end
  end)
end)
