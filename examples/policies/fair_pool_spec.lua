local testing = require("keel").testing

local POLICY = debug.getinfo(1, "S").source:match "^@(.*)_spec%.lua$" .. ".lua"

describe("The policy fair_pool", function()
  it("gives a run a place in the pool and one of its user's", function()
    assert.same({ admit = true, slots = { { name = "gpu", max = 4 }, { name = "user:ada", max = 1 } } },
      testing.decide(POLICY, { user_id = "ada" }))
    assert.same({ { name = "tpu", max = 2 }, { name = "user:nobody", max = 3 } },
      testing.decide(POLICY, { options = { pool = "tpu", max = 2, per_user = 3 } }).slots)
  end)

  it("lets nobody take the places of others, and leaves none empty", function()
    local keel = require "keel"
    local store <close> = testing.store()
    local runs = keel.run_manager { store = store, strategy = assert(keel.load_policy(POLICY)),
      strategy_options = { max = 2 } }
    local function create(user)
      return assert(runs:create_or_reject("t", { user_id = user, claimable = true })).run_id
    end
    local a1, a2 = create "ada", create "ada"
    local b1, c1 = create "bob", create "cyd"
    local function claim()
      local run = runs:claim_next()
      return run and run.run_id
    end
    assert.same({ a1, b1 }, { claim(), claim() })
    assert.is_nil(claim()) -- the pool is full
    assert.same({ "slot", "gpu" }, { runs:explain(c1).waits_for, runs:explain(c1).name })
    assert(runs:set_status(b1, "success"))
    assert.equal(c1, claim()) -- a2 is older, but its user has a place
    assert(runs:set_limit("user:ada", { max = 2 }))
    assert(runs:set_status(c1, "success"))
    assert.equal(a2, claim())
  end)
end)
