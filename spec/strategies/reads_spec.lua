--- Strategies that read, without a store: their questions, and answers given by hand.
local keel = require "keel"
local support = require "support"
local testing = require "keel.testing"

local function asking(questions)
  return { reads = function() return questions end, decide = function() return { admit = true } end }
end

local quota = {
  reads = function(request) return { mine = { count = "inflight", user_id = request.user_id } } end,
  decide = function(request, inflight, read)
    return { admit = read.mine + #inflight < request.options.max, reason = "so many" }
  end,
}

describe("A strategy that reads", function()
  after_each(support.clean_up)

  local function script(source)
    local path = support.dir() .. "/policy.lua"
    require("support.files").write(path, source)
    return path
  end

  it("POLICY-13: asks with the request alone", function()
    local seen
    local look = { reads = function(request)
      seen = request
      return {}
    end, decide = function() return { admit = true } end }
    assert.same({}, testing.reads(look, { user_id = "ada", options = { max = 3 } }))
    assert.same({ "ada", 3, "t" }, { seen.user_id, seen.options.max, seen.thread_id })
    assert.same({}, { seen.inflight_count, seen.finalizing })
    assert.same({ mine = { count = "inflight", user_id = "ada" } }, testing.reads(quota, { user_id = "ada" }))
    assert.same({}, testing.reads "reject")
  end)

  it("decides by answers that a test gives by hand", function()
    local fields = { user_id = "ada", options = { max = 3 } }
    assert.is_true(testing.decide(quota, fields, { "a" }, { mine = 1 }).admit)
    assert.same({ admit = false, reason = "so many" }, testing.decide(quota, fields, { "a" }, { mine = 2 }))
    for problem, read in pairs { ["question 'mine' wants a whole number from 0"] = {},
      ["nothing is asked by the name 'min'; did you mean 'mine'"] = { mine = 1, min = 1 },
      ["got %-1"] = { mine = -1 } } do
      assert.error_matches(function() testing.decide(quota, fields, {}, read) end, problem)
    end
    assert.error_matches(function() testing.decide("reject", {}, {}, { mine = 1 }) end, "reads nothing")
  end)

  it("may be a script, of which each part runs alone", function()
    local path = script [[
      local calls = 0
      return {
        reads = function(request)
          calls = calls + 1
          return { hour = { count = "started", rate = "user:" .. request.user_id, per = 3600 } }
        end,
        decide = function(request, inflight, read)
          return { admit = read.hour < 5, reason = calls .. " calls, " .. read.hour .. " starts, " .. #inflight }
        end,
      }]]
    assert.same({ hour = { count = "started", rate = "user:7", per = 3600 } }, testing.reads(path, { user_id = "7" }))
    local decision, _, usage = testing.decide(path, { user_id = "7" }, { "a", "b" }, { hour = 4 })
    assert.same({ admit = true, reason = "0 calls, 4 starts, 2" }, decision)
    assert.is_true(usage.bytes > 0)
    assert.is_false(testing.decide(path, { user_id = "7" }, {}, { hour = 5 }).admit)
  end)

  it("has reads or idle, and nothing unknown, in a script as in a table", function()
    local decide = "decide = function() return { admit = true } end"
    for problem, source in pairs {
      ["with reads and idle: a strategy has one"] = "return { reads = function() end, idle = {}, " .. decide .. " }",
      ["unknown field 'read'"] = "return { read = function() end, " .. decide .. " }",
      ["reads of what the script returns must be a function, not a table"] = "return { reads = {}, " .. decide .. " }",
      ["its idle is no decision: after names a run that"] = "return { idle = { admit = true, after = { 'r' } }, "
        .. decide .. " }",
      ["a table with the function decide"] = "return { reads = function() end }" } do
      local _, err = keel.load_policy(script(source))
      assert.equal("policy_failed", err.code)
      assert.matches(problem, err.message, 1, true)
    end
    local manager = support.manager(support.open ":memory:")
    for problem, strategy in pairs {
      ["has idle and reads: a strategy has one of them"] = { idle = {}, reads = print, decide = print },
      ["unknown field 'read'; did you mean 'reads'?"] = { read = print, decide = print },
      ["has an 'idle' that is no decision: the decision must say admit"] = { idle = {}, decide = print },
      ["'reads' must be a function, got table"] = { reads = {}, decide = print } } do
      for _, call in ipairs { function() manager:create_or_reject("t", { strategy = strategy }) end,
        function() keel.run_manager { store = ":memory:", strategies = { one = strategy } } end } do
        local _, err = pcall(call)
        assert.matches(problem, err, 1, true)
      end
    end
  end)

  it("is no reconciler and no schedule policy", function()
    for _, kind in ipairs { "reconcilers", "schedules" } do
      support.raises(kind, function() keel.run_manager { store = ":memory:", [kind] = { one = quota } } end)
    end
    support.raises("diagnostics", function() keel.runtime { store = ":memory:", diagnostics = { one = quota } } end)
  end)

  it("is not asked by testing.decide either where its idle says what it decides", function()
    local own = { idle = { admit = true, concurrency = 3 }, decide = function() return { admit = false } end }
    local path = script [[
      return { idle = { admit = true, delay = 5 }, decide = function() return { admit = false } end }]]
    assert.same({ admit = true, concurrency = 3 }, testing.decide(own))
    local decision, err, usage = testing.decide(path)
    assert.same({ { admit = true, delay = 5 }, nil, nil }, { decision, err, usage })
    for _, busy in ipairs { { {}, { "a" } }, { { finalizing = { "a" } } }, { { inflight_count = 1 } } } do
      assert.same({ admit = false }, testing.decide(own, busy[1], busy[2]))
      assert.same({ admit = false }, (testing.decide(path, busy[1], busy[2])))
    end
  end)

  it("may say in a script what it decides on an idle thread", function()
    local manager = support.manager(support.open ":memory:")
    local strategy = assert(keel.load_policy(script [[
      return { idle = { admit = true, concurrency = 3, reason = "nobody is here" },
        decide = function() return { admit = false, reason = "asked" } end }]]))
    assert.equal(3, manager:create_or_reject("t", { strategy = strategy }).concurrency)
    local _, err = manager:create_or_reject("t", { strategy = strategy })
    assert.equal("asked", err.reason)
  end)

  for problem, questions in pairs {
    ["question 'q' has the unknown field 'user'; did you mean 'user_id'?"] = { q = { count = "inflight", user = "7" } },
    ["question 'q' has the unknown count 'runing'; did you mean 'running'?"] = { q = { count = "runing" } },
    ["question 'q' has no count"] = { q = { user_id = "7" } },
    ["question 'q' has slot and user_id: a question has one filter"] =
      { q = { count = "inflight", user_id = "7", slot = "gpu" } },
    ["question 'q' must have a text of 1 to 256 bytes without control characters as user_id"] =
      { q = { count = "inflight", user_id = 7 } },
    ["question 'q' counts starts, and has no rate"] = { q = { count = "started", per = 5 } },
    ["question 'q' must have a number of seconds greater than 0 as per"] =
      { q = { count = "started", rate = "api", per = 0 } },
    ["question 'q' counts starts, which have a rate and per, and no user_id"] =
      { q = { count = "started", rate = "api", per = 5, user_id = "7" } },
    ["question 'q' has per, which is for count = \"started\""] = { q = { count = "running", per = 5 } },
    ["question 'q' must be a table, got a string"] = { q = "inflight" },
    ["reads must return a table of questions by name"] = { { count = "inflight" } },
    ["reads must return a table of questions, got a number"] = 5,
  } do
    it("is refused: " .. problem, function()
      local _, err = testing.reads(asking(questions))
      assert.equal("policy_failed", err.code)
      assert.equal(problem, err.reason:sub(1, #problem))
    end)
  end

  it("is refused: names and numbers that no store takes", function()
    for _, id in ipairs { "", "a\nb", ("x"):rep(257), "\xff" } do
      local _, err = testing.reads(asking { q = { count = "inflight", user_id = id } })
      assert.matches("^question 'q' must have a text of 1 to 256 bytes", err.reason)
    end
    for _, per in ipairs { 1e10, 0 / 0, -1, "5" } do
      local _, err = testing.reads(asking { q = { count = "started", rate = "api", per = per } })
      assert.matches("^question 'q' must have a number of seconds", err.reason)
    end
    local _, err = testing.reads(asking { ["\xff"] = { count = "inflight" } })
    assert.matches("^reads must return a table of questions by name", err.reason)
  end)

  it("asks eight questions at most", function()
    local questions = {}
    for i = 1, 8 do questions["q" .. i] = { count = "inflight" } end
    assert.same(questions, testing.reads(asking(questions)))
    questions.q9 = { count = "inflight" }
    local _, err = testing.reads(asking(questions))
    assert.equal("reads asks more than 8 questions", err.reason)
  end)

  it("has a budget for its questions, too", function()
    local endless = { reads = function() while true do end end, decide = function() return { admit = true } end }
    local _, err = testing.reads(endless, {}, { instructions = 1000 })
    assert.same({ "policy_budget", "instructions" }, { err.code, err.limit })
  end)

  it("may decide slots and rates, checked as those of a request", function()
    local decided = { admit = true, slots = { { name = "gpu", max = 2 } },
      rates = { { name = "api", max = 5, per = 60 } } }
    assert.same(decided, testing.decide(function() return decided end))
    for problem, decision in pairs {
      ["slots[1].max must be a whole number from 0 to 10000"] =
        { admit = true, slots = { { name = "gpu", max = -1 } } },
      ["slots[1].name must not be *"] = { admit = true, slots = { { name = "*", max = 1 } } },
      ["slots[2].name is that of slots[1], too"] =
        { admit = true, slots = { { name = "a", max = 1 }, { name = "a", max = 1 } } },
      ["rates[1].per must be a number of seconds greater than 0"] =
        { admit = true, rates = { { name = "api", max = 1, per = 0 } } },
      ["slots must be a table, got string"] = { admit = true, slots = "gpu" },
      ["a newcomer that is not admitted cannot have slots"] = { admit = false, slots = { { name = "a", max = 1 } } },
    } do
      local _, err = testing.decide(function() return decision end)
      assert.equal("policy_failed", err.code)
      assert.matches(problem, err.reason, 1, true)
    end
  end)
end)
