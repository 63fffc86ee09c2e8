local testing = require("keel").testing

local POLICY = debug.getinfo(1, "S").source:match "^@(.*)_spec%.lua$" .. ".lua"

describe("The policy hourly_limit", function()
  it("asks how many have started, of the user or of all", function()
    assert.same({ started = { count = "started", rate = "hour:ada", per = 3600 } },
      testing.reads(POLICY, { user_id = "ada" }))
    assert.equal("hour:all", testing.reads(POLICY, { user_id = "ada", options = { shared = true } }).started.rate)
    assert.equal("hour:nobody", testing.reads(POLICY).started.rate)
  end)

  it("admits with a rate, and refuses when the hour is used up", function()
    assert.same({ admit = true, rates = { { name = "hour:ada", max = 10, per = 3600 } } },
      testing.decide(POLICY, { user_id = "ada" }, {}, { started = 9 }))
    assert.same({ admit = false, reason = "5 runs have started in this hour, of 5" },
      testing.decide(POLICY, { user_id = "ada", options = { max = 5 } }, {}, { started = 5 }))
  end)

  it("holds in a manager, for those who wait, too", function()
    local keel = require "keel"
    local store <close>, clock = testing.store()
    local runs = keel.run_manager { store = store, strategy = assert(keel.load_policy(POLICY)),
      strategy_options = { max = 2 } }
    local made = {}
    for i = 1, 3 do made[i] = assert(runs:create_or_reject("t", { user_id = "ada" })) end
    assert.equal("started", runs:try_start(made[1].run_id))
    clock.advance(600)
    assert.equal("started", runs:try_start(made[2].run_id))
    assert.equal("waiting", runs:try_start(made[3].run_id))
    local _, err = runs:create_or_reject("t", { user_id = "ada" })
    assert.same({ "conflict", "2 runs have started in this hour, of 2" }, { err.code, err.reason })
    assert(runs:create_or_reject("t", { user_id = "bob" }))
    clock.advance(3000)
    assert.equal("started", runs:try_start(made[3].run_id))
    assert.is_nil((runs:create_or_reject("t", { user_id = "ada" })))
  end)
end)
