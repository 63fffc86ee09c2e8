--- The JSON of a run, byte for byte. The files in golden/ are the contract: other programs read and write it.
local keel = require "keel"
local read = require("support.files").read
local support = require "support"

local GOLDEN = debug.getinfo(1, "S").source:match "^@(.-)[^/]*$" .. "golden/"
local FRESH = read(GOLDEN .. "fresh.json")

local function with_id(text, id)
  return (text:gsub('"id":"[^"]*"', '"id":"' .. id .. '"', 1))
end

describe("The JSON of a run", function()
  after_each(support.clean_up)

  local store, dispatcher
  before_each(function()
    store = support.open ":memory:"
    dispatcher = keel.dispatcher { store = store }
  end)

  for _, name in ipairs { "fresh", "completed", "failed" } do
    it("DISPATCH-11: is golden/" .. name .. ".json, there and back", function()
      local text = read(GOLDEN .. name .. ".json")
      local run = assert(dispatcher:from_json(text))
      assert.equal(text, dispatcher:to_json(run))
      -- and through the store, which gives it an id of its own
      local stored = assert(dispatcher:create(run))
      assert.equal(with_id(text, stored.id), dispatcher:to_json(stored))
      stored.revision, stored.id = nil, run.id
      assert.same(stored, run)
    end)
  end

  it("DISPATCH-11: of a run that was just made is exactly this", function()
    local run = assert(dispatcher:prepare_atomic("m1", "h1", function() return { test_dir = "/srv/t" } end))
    assert.equal(with_id(FRESH, run.id), dispatcher:to_json(run))
    run.revision = nil
    assert.same(run, dispatcher:from_json(dispatcher:to_json(run)))
  end)

  it("DISPATCH-11: parses back to the same run in every status", function()
    for i, status in ipairs { "pending", "running", "completed", "failed", "interrupted", "timeout" } do
      local run = assert(dispatcher:create { machine = "m" .. i, test_dir_hash = "h", batch_id = i > 3 and "b" or nil,
        plan_entry = i > 4 and "p" or nil })
      run.status = status
      run = assert(dispatcher:update(run))
      local text = dispatcher:to_json(run)
      run.revision = nil
      assert.same(run, dispatcher:from_json(text))
      assert.same({ i > 3, i > 4 }, { text:find '"batch_id"' ~= nil, text:find '"plan_entry"' ~= nil })
    end
  end)

  it("DISPATCH-11: times of any offset are taken, and given in UTC to the microsecond", function()
    local text = FRESH:gsub('"started_at":null', '"started_at":"9999-12-31T23:59:59.1234567+00:30"')
    assert.equal("9999-12-31T23:29:59.123456+00:00", dispatcher:from_json(text).started_at)
  end)

  it("empty batch ids and plan entries are none", function()
    local run = dispatcher:from_json((FRESH:gsub('}$', ',"batch_id":"","plan_entry":""}')))
    assert.equal(FRESH, dispatcher:to_json(run))
  end)

  it("unknown keys are refused by name", function()
    local err = support.invalid("zeal", dispatcher:from_json((FRESH:gsub("}$", ',"zeal":1,"zebra":2}'))))
    assert.is_truthy(err.message:find('"zeal"', 1, true))
    support.invalid("revision", dispatcher:from_json((FRESH:gsub("}$", ',"revision":1}'))))
    support.invalid("bogus", dispatcher:from_json '{"id":"x","bogus":1}')
  end)

  it("wrong values are refused by the name of their key", function()
    for key, values in pairs {
      id = { "1", "null", '""', '"a\\nb"' }, machine = { '""', "null", "[]" }, test_dir = { "null", "{}", "1" },
      test_dir_hash = { '""', "true" }, status = { '"success"', '""', "0", "null" },
      exit_code = { "1.5", "1.0", '"0"', "true", "[]" }, started_at = { '"yesterday"', '""', "0", "{}" },
      ended_at = { '"2026-13-01T00:00:00Z"', "false" }, artifacts_path = { "null", "0" }, logs_path = { "[]" },
      error_code = { "7" }, error_msg = { "null" },
    } do
      for _, value in ipairs(values) do
        local text = FRESH:gsub('"' .. key .. '":[^,}]*', '"' .. key .. '":' .. value, 1)
        local err = support.invalid(key, dispatcher:from_json(text))
        assert.is_nil(err.misuse)
      end
    end
    support.invalid("batch_id", dispatcher:from_json((FRESH:gsub("}$", ',"batch_id":null}'))))
    support.invalid("plan_entry", dispatcher:from_json((FRESH:gsub("}$", ',"plan_entry":3}'))))
  end)

  it("missing keys are refused by name", function()
    for key in FRESH:gmatch '"([%w_]+)":' do
      support.invalid(key, dispatcher:from_json((FRESH:gsub('"' .. key .. '":[^,}]*,?', ""):gsub(",}$", "}"))))
    end
  end)

  it("what is no JSON object is refused", function()
    for _, text in ipairs { "", "{", "[]", "[1]", "null", "1", '"x"', "{}{}", '{"id":"a","id":"b"}',
      '{"exit_code":1e999}', '{"exit_code":9223372036854775808}', '{"id":"\xff"}' } do
      support.refused("invalid_request", dispatcher:from_json(text))
    end
    support.raises("from_json", dispatcher.from_json, dispatcher, {})
  end)

  it("to_json takes whole runs only", function()
    local run = assert(dispatcher:from_json(FRESH))
    for _, name in ipairs { "id", "machine", "test_dir_hash", "status" } do
      local kept = run[name]
      run[name] = nil
      support.invalid(name, dispatcher:to_json(run))
      run[name] = kept
    end
    run.exit_code = 0.5
    support.raises("exit_code", dispatcher.to_json, dispatcher, run)
    run.exit_code, run.note = nil, "x"
    support.raises("note", dispatcher.to_json, dispatcher, run)
  end)
end)
