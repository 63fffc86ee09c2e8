--- A run that its own process interrupted is finalizing until it has come to rest, and its successor waits for that.
local new_pair = require "support.pair"
local support = require "support"

support.each_store(function(open)
  describe("A run interrupted by its own process", function()
    local store, manager

    before_each(function()
      store = open()
      manager = support.manager(store)
    end)

    local function started(options)
      local run = assert(manager:create("t", options))
      assert.equal("started", manager:try_start(run.run_id))
      return run
    end

    local function newcomer(strategy)
      return assert(manager:create_or_reject("t", { multitask_strategy = strategy or "interrupt" }))
    end

    it("RUN-21: is finalizing after a cancel, until settle", function()
      local run = started()
      assert(manager:cancel(run.run_id))
      assert.same({ "interrupted", true, true }, { run.status, run.finalizing, manager:has_inflight "t" })
      assert.is_true(manager:settle(run.run_id))
      assert.same({ "interrupted", false, false }, { run.status, run.finalizing, manager:has_inflight "t" })
      assert.is_false(manager:settle(run.run_id))
    end)

    it("RUN-21: leaves one run_settled when it has come to rest, after its run_finished", function()
      local run = started()
      assert(manager:cancel(run.run_id))
      manager:settle(run.run_id)
      manager:settle(run.run_id)
      assert.same({ "run_created", "run_started", "run_finished", "run_settled" },
        support.pluck(support.events(store, { run_id = run.run_id }), "kind"))
    end)

    for _, strategy in ipairs { "interrupt", "rollback" } do
      it("RUN-21: is waited for by the " .. strategy .. " that stopped it", function()
        local run = started()
        local new = newcomer(strategy)
        assert.same({ "interrupted", true, true }, { run.status, run.finalizing, run.abort_event:is_set() })
        assert.equal("waiting", manager:try_start(new.run_id))
        assert.is_true(manager:settle(run.run_id))
        assert.equal("started", manager:try_start(new.run_id))
      end)
    end

    it("RUN-21: is waited for by a second newcomer that stopped the first before it could start", function()
      local run = started()
      local first = newcomer()
      local second = newcomer()
      assert.equal("interrupted", first.status)
      assert.equal("waiting", manager:try_start(second.run_id))
      manager:settle(run.run_id)
      assert.equal("started", manager:try_start(second.run_id))
    end)

    it("RUN-21: is waited for by an interrupt that comes after a cancel", function()
      local run = started()
      assert(manager:cancel(run.run_id))
      local new = newcomer()
      assert.equal("waiting", manager:try_start(new.run_id))
      manager:settle(run.run_id)
      assert.equal("started", manager:try_start(new.run_id))
    end)

    it("RUN-21: counts as running for those who queue", function()
      local run = started()
      assert(manager:cancel(run.run_id))
      local new = newcomer "enqueue"
      assert.equal("waiting", manager:try_start(new.run_id))
      manager:settle(run.run_id)
      assert.equal("started", manager:try_start(new.run_id))
    end)

    it("RUN-21: is at rest when its final status is written again", function()
      local run = started()
      assert(manager:cancel(run.run_id))
      assert(manager:set_status(run.run_id, "interrupted"))
      assert.same({ false, false }, { run.finalizing, manager:has_inflight "t" })
    end)

    for _, status in ipairs { "interrupted", "success", "error" } do
      it("RUN-21: is at rest when a completion says " .. status .. ", and stays interrupted", function()
        local run = started()
        assert(manager:cancel(run.run_id))
        assert.is_true(manager:update_run_completion(run.run_id, { status = status, total_tokens = 7 }))
        assert.same({ "interrupted", 7, false, false },
          { run.status, run.total_tokens, run.finalizing, manager:has_inflight "t" })
      end)
    end

    it("RUN-25: rolled back, is at rest when its owner says so with an error", function()
      local run = started()
      local new = newcomer "rollback"
      assert(manager:set_status(run.run_id, "error", { error = "rolled back" }))
      assert.same({ "error", "rolled back", false }, { run.status, run.error, run.finalizing })
      assert.equal("started", manager:try_start(new.run_id))
    end)

    it("RUN-21: is not finalizing when it never was started", function()
      local run = assert(manager:create "t")
      local new = newcomer()
      assert.same({ "interrupted", false }, { run.status, run.finalizing })
      assert.equal("started", manager:try_start(new.run_id))
    end)

    it("RUN-21: is not finalizing when it was started past the gate", function()
      local run = assert(manager:create "t")
      assert(manager:set_status(run.run_id, "running"))
      assert(manager:cancel(run.run_id))
      assert.same({ false, false }, { run.finalizing, manager:has_inflight "t" })
    end)

    it("RUN-21: is not finalizing when it ended by itself", function()
      local run = started()
      assert(manager:set_status(run.run_id, "interrupted"))
      assert.same({ false, false }, { run.finalizing, manager:has_inflight "t" })
    end)

    it("RUN-21: is finalizing after a claim as well", function()
      assert(manager:create("t", { claimable = true }))
      local run = assert(manager:claim_next())
      assert(manager:cancel(run.run_id))
      assert.same({ true, true }, { run.finalizing, manager:has_inflight "t" })
      manager:settle(run.run_id)
      assert.is_false(manager:has_inflight "t")
    end)

    it("RUN-21: that was cancelled by another manager of this process is finalizing too", function()
      local run = started()
      assert.same({ true, "cancelled" }, { support.manager(store):cancel(run.run_id) })
      assert.is_true(manager:has_inflight "t")
      assert.is_true(manager:settle(run.run_id))
      assert.is_false(manager:has_inflight "t")
    end)

    it("that is unknown cannot be settled, one that goes on is not", function()
      support.refused("not_found", manager:settle(support.unknown_id()))
      local run = started()
      assert.is_false(manager:settle(run.run_id))
      assert.equal("running", run.status)
      support.raises("settle", manager.settle, manager, 5)
    end)

    it("is not settled when the store fails", function()
      local run = started()
      local wrapped = support.wrap(store, { settle = support.fail(math.huge, support.broken()) })
      local failing = support.manager(wrapped)
      assert(manager:cancel(run.run_id))
      support.refused("store_corrupt", failing:settle(run.run_id))
      assert.is_true(manager:has_inflight "t")
    end)
  end)
end)

describe("A finalizing run", function()
  local pair
  after_each(support.clean_up)

  before_each(function() pair = new_pair { settle_timeout = 5 } end)

  -- A run of theirs that they interrupted and have not settled.
  local function finalizing()
    local run = pair.started()
    assert(pair.theirs:cancel(run.run_id))
    return run
  end

  local function newcomer(manager, options)
    options = options or {}
    options.multitask_strategy = "enqueue"
    return assert((manager or pair.ours):create_or_reject("t", options))
  end

  it("RUN-21: holds up others as long as its owner is there", function()
    local run, new = finalizing(), newcomer()
    assert.is_true(pair.ours:has_inflight "t")
    assert.equal("waiting", pair.ours:try_start(new.run_id))
    assert(pair.theirs:settle(run.run_id))
    assert.equal("started", pair.ours:try_start(new.run_id))
  end)

  it("RUN-21: of a dead owner holds up nobody", function()
    local run, new = finalizing(), newcomer()
    pair.theirs_store:close()
    assert.equal("started", pair.ours:try_start(new.run_id))
    assert.same({ "interrupted", false, 2 }, { pair.ours:get(run.run_id).status, pair.ours:get(run.run_id).finalizing,
      pair.ours:get(run.run_id).fence })
  end)

  it("RUN-21: of a dead owner is not in flight", function()
    finalizing()
    pair.theirs_store:close()
    assert.is_false(pair.ours:has_inflight "t")
  end)

  it("RUN-21: past settle_timeout holds up nobody, and its owner is fenced out", function()
    local run, new = finalizing(), newcomer()
    pair.clock.advance(4.9)
    assert.equal("waiting", pair.ours:try_start(new.run_id))
    pair.clock.advance(0.1)
    assert.equal("started", pair.ours:try_start(new.run_id))
    pair.is_shut_out(pair.theirs, run.run_id)
    local events = support.events(pair.ours_store, { run_id = run.run_id, kinds = { "run_settled" } })
    assert.same({ 1, true }, { #events, events[1].data.abandoned })
  end)

  it("RUN-21: of this very process holds up nobody past settle_timeout", function()
    local run, new = finalizing(), newcomer(pair.theirs)
    assert.equal("waiting", pair.theirs:try_start(new.run_id))
    pair.clock.advance(5)
    assert.equal("started", pair.theirs:try_start(new.run_id))
    pair.is_shut_out(pair.theirs, run.run_id)
  end)

  it("RUN-21: of a dead owner does not keep what is claimable from being claimed", function()
    finalizing()
    local new = newcomer(nil, { claimable = true })
    assert.is_nil(pair.ours:claim_next())
    pair.theirs_store:close()
    assert(pair.ours:tick())
    assert.equal(new.run_id, assert(pair.ours:claim_next()).run_id)
  end)

  it("RUN-21: past settle_timeout does not keep what is claimable from being claimed", function()
    finalizing()
    local new = newcomer(nil, { claimable = true })
    pair.clock.advance(4.9)
    assert(pair.ours:tick())
    assert.is_nil(pair.ours:claim_next())
    pair.clock.advance(0.1)
    assert(pair.ours:tick())
    assert.equal(new.run_id, assert(pair.ours:claim_next()).run_id)
  end)

  it("settle_timeout 0 waits for nobody", function()
    finalizing()
    local hasty = support.manager(pair.ours_store, { settle_timeout = 0 })
    assert.equal("started", hasty:try_start(newcomer(hasty).run_id))
  end)

  it("a settle_timeout that is no time is refused", function()
    for _, value in ipairs { -1, 0 / 0, math.huge } do
      support.invalid("settle_timeout", require("keel").run_manager { store = ":memory:", settle_timeout = value })
    end
  end)
end)
