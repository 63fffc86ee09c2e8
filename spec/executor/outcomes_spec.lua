--- What handlers return and raise, whatever it is: how the run ended is kept, and always written.
local keel = require "keel"
local executors = require "support.executor"
local support = require "support"

--- Objects of a strict class: everything that looks at them raises.
local function refuse() error "nobody may look" end
local Strict = { __index = refuse, __pairs = refuse, __len = refuse, __eq = refuse, __tostring = refuse, __name = 7 }
local function strict(fields) return setmetatable(fields or {}, Strict) end

describe("What a handler comes to", function()
  local store, runs, lines
  after_each(executors.clean_up)
  after_each(support.clean_up)

  before_each(function()
    store = support.open(":memory:")
    local log
    log, lines = support.log()
    runs = support.manager(store, { log = log })
  end)

  -- The row of a run with this handler, and what the log was told of it.
  local function row_after(handler, options)
    local given = { claimable = true }
    for name, value in pairs(options or {}) do given[name] = value end
    local id = assert(runs:create("t", given)).run_id
    local executor = executors.new(runs, handler)
    assert(executor:drain())
    executor:stop { timeout = 0 }
    return store:get(id), lines[#lines] and lines[#lines].fields.left_out
  end

  it("F-25: keeps status and exit code of output that is not UTF-8, made readable", function()
    local row = row_after(function(context)
      local result = assert(context.spawn "printf 'caf\\351'; exit 3"):wait()
      return { status = "error", exit_code = result.code, last_ai_message = result.output, error = "a\xff" }
    end, { max_attempts = 3 })
    assert.same({ "error", 3, "caf?", "a?" }, { row.status, row.exit_code, row.last_ai_message, row.error })
    assert.is_nil(row.error_code)
  end)

  it("F-25: leaves out what cannot be stored, and tells the log, however the run ended", function()
    local row, left_out = row_after(function()
      return { status = "error", exit_code = 4.0, colour = "red", [7] = true, total_tokens = -1, message_count = "3",
        llm_call_count = 2, error = {}, token_usage_by_model = { f = print }, progress = 3, result = function() end }
    end)
    assert.same({ "error", 4, 2 }, { row.status, row.exit_code, row.llm_call_count })
    assert.same({}, { row.error, row.error_code, row.progress, row.result })
    local names = {}
    for name, why in pairs(left_out) do
      names[#names + 1] = name
      assert.is_true(#why > 0)
    end
    table.sort(names)
    assert.same({ "7", "colour", "error", "message_count", "progress", "result", "token_usage_by_model",
      "total_tokens" }, names)
    row = row_after(function() return { exit_code = "one" } end)
    assert.same({ "success" }, { row.status, row.exit_code })
  end)

  it("RESULT-2: F-25: makes a value that is no outcome the result of a success", function()
    for _, value in ipairs { { answer = 42 }, { 1, 2, 3 }, "text", 7, 2.5, { error = "as data", answer = 1 },
      { status = "shipped", order = 7 }, keel.array {}, false } do
      local row = row_after(function() return value end)
      assert.same({ "success", value }, { row.status, row.result })
    end
    for _, nothing in ipairs { true, keel.null } do
      local row = row_after(function() return nothing end)
      assert.same({ "success" }, { row.status, row.result })
    end
    local row = row_after(function() return { exit_code = 0, result = { deep = { 1 } } } end)
    assert.same({ "success", 0, { deep = { 1 } } }, { row.status, row.exit_code, row.result })
  end)

  it("F-25: keeps how the run ended when the store refuses what was said of it", function()
    for _, code in ipairs { "invalid_request", "limit_too_large" } do
      local function complete(forward, run_id, outcome, ...)
        if outcome.last_ai_message then return nil, { code = code, message = "refused", transient = false } end
        return forward(run_id, outcome, ...)
      end
      runs = support.manager((support.wrap(store, { update_run_completion = complete,
        tx = { update_run_completion = complete } })))
      local row = row_after(function()
        return { status = "error", exit_code = 3, error = "no", error_code = "E3", stop_reason = "enough",
          last_ai_message = "hello" }
      end)
      assert.same({ "error", 3, "no", "E3", "enough" },
        { row.status, row.exit_code, row.error, row.error_code, row.stop_reason })
      assert.is_nil(row.last_ai_message)
    end
  end)

  it("RESULT-1: F-25: a result that is too large or no JSON is left out of a success", function()
    for _, value in ipairs { ("x"):rep(1024 * 1024), { 0 / 0 }, { f = print }, "\xff" } do
      local row, left_out = row_after(function() return value end)
      assert.same({ "success" }, { row.status, row.result })
      assert.is_true(#left_out.result > 0)
    end
  end)

  it("F-25: a status that is not final is an error, and nothing else is lost", function()
    local row = row_after(function() return { status = "running", exit_code = 3 } end)
    assert.same({ "error", 3, "invalid_outcome" }, { row.status, row.exit_code, row.error_code })
    assert.matches("running", row.error)
  end)

  it("F-25: what the store refuses all the same costs neither status nor exit code", function()
    local refused = 0
    runs = support.manager(support.wrap(store, { tx = { update_run_completion = function(forward, id, fields)
      if not fields.total_tokens then return forward(id, fields) end
      refused = refused + 1
      return nil, { code = "invalid_request", message = "no" }
    end } }), { log = support.log() })
    local row = row_after(function() return { status = "error", exit_code = 9, total_tokens = 5 } end)
    assert.same({ "error", 9, 0 }, { row.status, row.exit_code, row.total_tokens })
    assert.is_true(refused > 0)
  end)

  it("F-26: errors of strict classes, returned and raised, end the run", function()
    for _, handler in ipairs {
      function() return nil, strict() end,
      function() return false, strict() end,
      function() error(strict()) end,
      function() error(strict { code = setmetatable({}, Strict), message = strict() }) end,
      function() error(setmetatable({}, { __tostring = function() return 7 end })) end,
      function() error(setmetatable({}, { __metatable = "locked", __index = refuse })) end,
    } do
      local row = row_after(handler)
      assert.equal("error", row.status)
      assert.is_true(#row.error > 0)
    end
    local row = row_after(function() error(strict { code = "disk", message = "full" }) end)
    assert.same({ "error", "disk" }, { row.status, row.error_code })
  end)

  it("F-26: results of strict classes are looked at raw", function()
    local row = row_after(function() return strict { exit_code = 3 } end)
    assert.same({ "success", 3 }, { row.status, row.exit_code })
    row = row_after(function() return strict { answer = 42 } end)
    assert.same({ "success", { answer = 42 } }, { row.status, row.result })
    row = row_after(function() return { exit_code = 2, [strict()] = strict() } end)
    assert.same({ "success", 2 }, { row.status, row.exit_code })
  end)

  it("F-26: a strict table of handlers has those that it has", function()
    local handlers = setmetatable({ known = function() return true end },
      { __index = function(_, name) error("no handler " .. name) end, __pairs = refuse })
    assert.equal("success", row_after(handlers, { kwargs = { handler = "known" } }).status)
    local row = row_after(handlers, { kwargs = { handler = "nowhere" } })
    assert.same({ "pending", 1 }, { row.status, row.attempt })
  end)

  it("F-26: so are errors that stores, backends and the functions of retries return and raise", function()
    local policy = support.retry()
    local ok, err = pcall(policy.call, policy, function() error(strict()) end)
    assert.is_false(ok)
    assert.equal(Strict, getmetatable(err))
    assert.equal(Strict, getmetatable(select(2, policy:call(function() return nil, strict() end))))
    for _, fail in ipairs { function() return nil, strict() end, function() error(strict()) end } do
      local broken = support.manager(support.wrap(store, { put = fail }), { log = support.log() })
      local refused = support.refused("io", broken:create "t")
      assert.matches("cannot be shown", tostring(refused))
      local runtime = assert(keel.runtime { store = store, runtime_id = "r", backend = {
        spawn = fail, dispatch_input = fail, stop = fail, cancel = fail } })
      support.refused("io", runtime:create_worker {})
    end
    local manager = support.manager(setmetatable({}, { __index = function(_, name)
      if name == "put" or name == "get" then return function() return nil, strict { code = "io", message = "m" } end end
      error("no method " .. name)
    end }), { log = support.log() })
    support.refused("io", manager:create "t")
  end)

  it("F-26: keel.assert and reservations take errors of strict classes", function()
    support.raises("cannot be shown", keel.assert, nil, strict())
    local ok, err = pcall(runs.reserve, runs, "t", "delete", function() error(strict()) end)
    assert.same({ false, Strict }, { ok, getmetatable(err) })
    assert.is_false(runs:has_inflight "t")
  end)

  it("F-27: cuts an error and its code, as texts are", function()
    local row = row_after(function() error { code = ("x"):rep(1e6), message = ("é"):rep(1e6) } end)
    assert.same({ "error", 256 }, { row.status, #row.error_code })
    assert.is_true(#row.error <= 64 * 1024)
    assert.is_not_nil(utf8.len(row.error))
    row = row_after(function() return nil, ("y"):rep(1e6) end)
    assert.is_true(#row.error <= 64 * 1024)
    row = row_after(function() return { status = "error", error = ("é"):rep(1e6), error_code = ("x"):rep(1e6) } end)
    assert.is_true(#row.error <= 64 * 1024 and #row.error_code <= 256 and utf8.len(row.error) ~= nil)
  end)
end)
