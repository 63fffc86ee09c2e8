local testing = require("keel").testing

local POLICY = debug.getinfo(1, "S").source:match "^@(.*)_spec%.lua$" .. ".lua"

describe("The policy user_quota", function()
  local function of(user) return function(id) return testing.run(id, { user_id = user }) end end
  local ada, bob = of "ada", of "bob"

  it("admits up to the quota of a user", function()
    assert.same({ admit = true }, testing.decide(POLICY, { user_id = "ada" }, { ada "1" }))
    assert.same({ admit = false, reason = "ada has 2 of 2 runs in flight" },
      testing.decide(POLICY, { user_id = "ada" }, { ada "1", ada "2" }))
  end)

  it("does not count what others have", function()
    assert.same({ admit = true }, testing.decide(POLICY, { user_id = "ada" }, { bob "1", bob "2", bob "3", ada "4" }))
  end)

  it("takes the quota from the caller's options", function()
    assert.is_true(testing.decide(POLICY, { user_id = "ada", options = { per_user = 3 } }, { ada "1", ada "2" }).admit)
    assert.is_false(testing.decide(POLICY, { user_id = "ada", options = { per_user = 0 } }).admit)
  end)

  it("gives those without a name one quota together", function()
    assert.is_false(testing.decide(POLICY, {}, { "1", "2" }).admit)
    assert.is_true(testing.decide(POLICY, {}, { "1", ada "2" }).admit)
  end)

  it("does not guess when it is not shown all", function()
    assert.matches("300 runs", testing.decide(POLICY, { user_id = "ada", inflight_count = 300 }, { bob "1" }).reason)
  end)

  it("holds in a manager", function()
    local keel = require "keel"
    local store <close> = testing.store()
    local runs = keel.run_manager { store = store, strategies = { quota = assert(keel.load_policy(POLICY)) } }
    local function create(user) return runs:create_or_reject("t", { multitask_strategy = "quota", user_id = user }) end
    assert(create "ada")
    assert(create "ada")
    local _, err = create "ada"
    assert.same({ "conflict", "ada has 2 of 2 runs in flight" }, { err.code, err.reason })
    assert(create "bob")
  end)
end)
