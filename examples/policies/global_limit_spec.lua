local testing = require("keel").testing

local POLICY = debug.getinfo(1, "S").source:match "^@(.*)_spec%.lua$" .. ".lua"

describe("The policy global_limit", function()
  local function decide(all, options, priority)
    return assert(testing.decide(POLICY, { options = options or {}, priority = priority }, {}, { all = all }))
  end

  it("asks how many there are in the whole store", function()
    assert.same({ all = { count = "inflight" } }, testing.reads(POLICY))
  end)

  it("refuses what comes when there are as many as may be", function()
    assert.same({ admit = true }, decide(99))
    assert.same({ admit = false, reason = "100 runs are in flight, of 100" }, decide(100))
    assert.is_false(decide(20, { max = 20 }).admit)
  end)

  it("lets in what is urgent", function()
    assert.is_true(decide(100, { urgent = 5 }, 5).admit)
    assert.is_false(decide(100, { urgent = 5 }, 4).admit)
  end)

  it("holds in a manager, over threads and users", function()
    local keel = require "keel"
    local store <close> = testing.store()
    local runs = keel.run_manager { store = store, strategy = assert(keel.load_policy(POLICY)),
      strategy_options = { max = 2 } }
    assert(runs:create_or_reject("t", { user_id = "ada" }))
    local second = assert(runs:create_or_reject("u", { user_id = "bob" }))
    local _, err = runs:create_or_reject "v"
    assert.same({ "conflict", "2 runs are in flight, of 2" }, { err.code, err.reason })
    assert(runs:try_start(second.run_id))
    assert(runs:set_status(second.run_id, "success"))
    assert(runs:create_or_reject "v")
  end)
end)
