local keel = require "keel"
local support = require "support"

local json, null = keel.json, keel.null

local function again(value)
  return assert(json.decode(assert(json.encode(value))))
end

local function through_a_store(value)
  local store = support.open ":memory:"
  assert(store:put("r", { thread_id = "t", metadata = { value = value } }))
  return assert(store:get "r").metadata.value
end

describe("JSON", function()
  after_each(support.clean_up)

  local WAYS = { ["encode and decode"] = again, ["a store"] = through_a_store }

  for way, survive in pairs(WAYS) do
    it("keeps 64-bit integers exactly through " .. way, function()
      for _, n in ipairs { 0, -1, 9007199254740993, -9007199254740993, math.maxinteger, math.mininteger } do
        local back = survive { n }[1]
        assert.equal("integer", math.type(back))
        assert.equal(n, back)
      end
    end)

    it("keeps floats exactly, and floats, through " .. way, function()
      for _, x in ipairs { 0.1, 1.0, -2.5, 1e300, 5e-324, 2.2250738585072014e-308, 1 / 3, 2.0 ^ 53, 1e15 } do
        local back = survive { x }[1]
        assert.equal("float", math.type(back))
        assert.equal(x, back)
      end
    end)

    it("keeps Unicode, quotes, control characters and zero bytes in values through " .. way, function()
      for _, text in ipairs {
        "", "Grüße, 世界 🚲", "\u{2028}\u{2029}", '"\\/', "a\0b\0", "\n\r\t\x01\x7f", ("x"):rep(100000),
      } do
        assert.equal(text, survive { text }[1])
      end
    end)

    it("keeps null, booleans and nesting through " .. way, function()
      local value = { a = { b = { { c = null }, { d = true, e = false } } }, list = { 1, { 2, { 3 } } } }
      assert.same(value, survive(value))
    end)

    it("keeps null inside lists through " .. way, function()
      local back = survive { 1, null, 3, null }
      assert.equal(4, #back)
      assert.equal(null, back[2])
      assert.equal(null, back[4])
    end)

    it("keeps the mark of an array, empty or not, through " .. way, function()
      assert.equal("[]", json.encode(survive(keel.array {})))
      assert.equal("[1]", json.encode(survive(keel.array { 1 })))
      assert.equal("{}", json.encode(survive {}))
    end)
  end

  it("writes an empty table as an object and a marked one as an array", function()
    assert.equal("{}", json.encode {})
    assert.equal("[]", json.encode(keel.array {}))
    assert.equal("[]", json.encode(keel.array()))
  end)

  it("writes scalars, lists and objects as anybody would", function()
    assert.equal("[1,2.5,\"x\",true,null]", json.encode { 1, 2.5, "x", true, null })
    assert.equal('{"a":1}', json.encode { a = 1 })
  end)

  it("keeps the marks of decoded arrays deep inside", function()
    local text = '{"a":{"empty":[],"object":{}}}'
    assert.equal(json.encode(json.decode(text)), json.encode(again(json.decode(text))))
    assert.equal("[]", json.encode(json.decode(text).a.empty))
    assert.equal("{}", json.encode(json.decode(text).a.object))
  end)

  it("marks the table it was given", function()
    local list = { 1 }
    assert.equal(list, keel.array(list))
  end)

  it("shows null as a value of its own, the same each time", function()
    assert.not_nil(null)
    assert.equal(null, json.decode("[null]")[1])
    assert.equal(null, require("keel").null)
  end)
end)

describe("JSON refuses", function()
  after_each(support.clean_up)

  local cycle = {}
  cycle.inside = { cycle }
  local deep = {}
  for _ = 1, 200000 do deep = { deep } end

  local BAD = {
    ["functions"] = { f = print },
    ["coroutines"] = { c = coroutine.create(print) },
    ["userdata"] = { u = io.stdout },
    ["cycles"] = cycle,
    ["NaN"] = { 0 / 0 },
    ["infinity"] = { math.huge },
    ["tables with list items and names"] = { 1, 2, name = "x" },
    ["lists with holes"] = { [1] = 1, [3] = 3 },
    ["keys that are no text"] = { [true] = 1 },
    ["float keys"] = { [1.5] = 1 },
    ["zero bytes in keys"] = { ["a\0b"] = 1 },
    ["invalid UTF-8 in values"] = { "\xff" },
    ["invalid UTF-8 in keys"] = { ["\xc3"] = 1 },
    ["surrogates"] = { "\xed\xa0\x80" },
    ["nesting without end"] = deep,
  }

  for what, value in pairs(BAD) do
    it(what .. " when it encodes", function()
      support.refused("invalid_request", json.encode(value))
    end)

    it(what .. " in the metadata of a row, and writes nothing", function()
      local store = support.open ":memory:"
      support.invalid("metadata", store:put("r", { thread_id = "t", metadata = { value = value } }))
      assert.is_nil(store:get "r")
      assert.equal(0, #support.events(store))
    end)
  end

  it("the same table twice is no cycle", function()
    local shared = { 1 }
    assert.equal("[[1],[1]]", json.encode { shared, shared })
  end)

  for _, text in ipairs { "", "{", "[1,", "nul", "{'a':1}", '{"a":1} x', '"\xff"', "[1]]", '{"a"}', "NaN", "\0" } do
    it(("the text %q when it decodes"):format(text), function()
      support.refused("invalid_request", json.decode(text))
    end)
  end

  it("a text nested without end when it decodes", function()
    support.refused("invalid_request", json.decode(("["):rep(200000) .. ("]"):rep(200000)))
  end)

  it("F-44: more than 200 levels, which every stack of 128 KiB takes", function()
    for _, way in ipairs { { "[", "", "]" }, { '{"a":', "1", "}" } } do
      local function text(levels) return way[1]:rep(levels) .. way[2] .. way[3]:rep(levels) end
      local value = assert(json.decode(text(200)))
      assert.equal(text(200), json.encode(value))
      assert.same(value, json.copy(value))
      support.refused("invalid_request", json.decode(text(201)))
      support.refused("invalid_request", json.encode { value })
      assert.has_error(function() json.copy { value } end, "the value is nested too deeply, or holds itself")
    end
  end)

  it("a text that it could not encode again", function()
    for depth = 1, 2600, 37 do
      local value, err = json.decode(("["):rep(depth) .. ("]"):rep(depth))
      if value then assert(json.encode(value)) else assert.equal("invalid_request", err.code) end
      value = json.decode(('{"a":'):rep(depth) .. "1" .. ("}"):rep(depth))
      if value then assert(json.encode(value)) end
    end
  end)

  it("something that is no text: it raises", function()
    support.raises({ "decode", "#1" }, json.decode, {})
    support.raises({ "decode", "#1" }, json.decode)
  end)
end)
