local testing = require("keel").testing

local POLICY = debug.getinfo(1, "S").source:match "^@(.*)_spec%.lua$" .. ".lua"

describe("The policy user_quota", function()
  local function decide(mine, options)
    return assert(testing.decide(POLICY, { user_id = "ada", options = options or {} }, {}, { mine = mine }))
  end

  it("asks how many runs the user has, wherever they are", function()
    assert.same({ mine = { count = "inflight", user_id = "ada" } }, testing.reads(POLICY, { user_id = "ada" }))
  end)

  it("admits up to the quota of a user", function()
    assert.same({ admit = true }, decide(1))
    assert.same({ admit = false, reason = "ada has 2 of 2 runs in flight" }, decide(2))
  end)

  it("takes the quota from the caller's options", function()
    assert.is_true(decide(2, { per_user = 3 }).admit)
    assert.is_false(decide(0, { per_user = 0 }).admit)
  end)

  it("refuses a run of nobody, instead of counting all", function()
    assert.same({}, testing.reads(POLICY))
    assert.matches("no user_id", testing.decide(POLICY).reason)
  end)

  it("holds in a manager, over all threads", function()
    local keel = require "keel"
    local store <close> = testing.store()
    local runs = keel.run_manager { store = store, strategies = { quota = assert(keel.load_policy(POLICY)) } }
    local function create(thread_id, user)
      return runs:create_or_reject(thread_id, { multitask_strategy = "quota", user_id = user })
    end
    local first = assert(create("t", "ada"))
    assert(create("u", "ada"))
    local _, err = create("v", "ada")
    assert.same({ "conflict", "ada has 2 of 2 runs in flight" }, { err.code, err.reason })
    assert(create("v", "bob"))
    assert(runs:cancel(first.run_id))
    assert(create("v", "ada"))
  end)
end)
