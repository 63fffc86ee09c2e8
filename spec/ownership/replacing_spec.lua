--- interrupt and rollback across real processes: the newcomer waits until the old owner has finished, died, or had its
--- time.
local support = require "support"

--- A child that starts a run on thread t; then does what it hears.
local OWNER = [[
  local manager = keel.run_manager { store = assert(keel.open((...), { durability = "normal" })) }
  local run = assert(manager:create "t")
  assert(manager:try_start(run.run_id) == "started")
  say(run.run_id)
  for order in hear do
    if order == "heartbeat" then
      local report = assert(manager:heartbeat())
      say(#report.cancel_requested .. " " .. tostring(run.abort_action))
    elseif order == "finish" then
      local done, err = manager:set_status(run.run_id, "interrupted")
      say(done and done.status or err.code)
    elseif order == "cancel" then
      assert(manager:cancel(run.run_id)) say "cancelled"
    elseif order == "settle" then
      say(tostring(assert(manager:settle(run.run_id))))
    elseif order == "late" then
      local codes = {}
      codes[1] = select(2, manager:set_status(run.run_id, "success")).code
      codes[2] = select(2, manager:update_run_completion(run.run_id, { status = "success" })).code
      codes[3] = select(2, manager:update_run_progress(run.run_id, { total_tokens = 9 })).code
      say(table.concat(codes, " ") .. " " .. tostring(run.abort_event:is_set()))
    end
  end
]]

support.each_shared("Across processes", function(place)
  local path, store, clock

  before_each(function()
    path, clock = place(), support.clock(os.time())
    store = support.open(path, { durability = "normal", clock = clock.read, monotonic = clock.read })
  end)

  local function owner()
    local child = support.spawn(OWNER, { path })
    return child, child:hear()
  end

  local function newcomer(strategy, options)
    local manager = support.manager(store, options)
    return manager, assert(manager:create_or_reject("t", { multitask_strategy = strategy })).run_id
  end

  for _, strategy in ipairs { "interrupt", "rollback" } do
    it("OWN-10: " .. strategy .. " tells the old run's owner, and waits until it has finished", function()
      local child, old = owner()
      local manager, new = newcomer(strategy)
      assert.same({ "running", strategy }, { manager:get(old).status, manager:get(old).cancel_action })
      assert.equal("waiting", manager:try_start(new))
      child:say "heartbeat"
      child:expect("1 " .. strategy)
      assert.equal("waiting", manager:try_start(new))
      child:say "finish"
      child:expect "interrupted"
      assert.equal("started", manager:try_start(new))
      assert.equal(1, #store:list_inflight { thread_id = "t" })
    end)
  end

  it("OWN-10: an owner that cancels its own run is waited for until it has settled", function()
    local child = owner()
    local manager, new = newcomer "interrupt"
    child:say "cancel"
    child:expect "cancelled"
    assert.equal("waiting", manager:try_start(new))
    child:say "settle"
    child:expect "true"
    assert.equal("started", manager:try_start(new))
  end)

  it("OWN-10: an owner that was killed is not waited for", function()
    local child, old = owner()
    local manager, new = newcomer "interrupt"
    assert.equal("waiting", manager:try_start(new))
    child:kill()
    assert.equal("started", manager:try_start(new))
    assert.is_true(({ error = true, interrupted = true })[manager:get(old).status])
    assert.equal(2, manager:get(old).fence)
  end)

  it("OWN-10: an owner that was killed while its run was finalizing is not waited for", function()
    local child = owner()
    local manager, new = newcomer "interrupt"
    child:say "cancel"
    child:expect "cancelled"
    assert.equal("waiting", manager:try_start(new))
    child:kill()
    assert.equal("started", manager:try_start(new))
  end)

  it("OWN-10: an owner that outstays settle_timeout is fenced out", function()
    local child, old = owner()
    local manager, new = newcomer("interrupt", { settle_timeout = 5 })
    assert.equal("waiting", manager:try_start(new))
    clock.advance(4.9)
    assert.equal("waiting", manager:try_start(new))
    clock.advance(0.2)
    assert.equal("started", manager:try_start(new))
    assert.same({ "interrupted", "settle_timeout" }, { manager:get(old).status, manager:get(old).stop_reason })
    child:say "late"
    child:expect "stale_owner stale_owner stale_owner true"
    child:say "finish"
    child:expect "stale_owner"
    assert.same({ "interrupted", 0 }, { store:get(old).status, store:get(old).total_tokens })
    assert.same({}, store:verify())
  end)

  it("OWN-10: an owner that is stopped for good is fenced out as well", function()
    local child, old = owner()
    local manager, new = newcomer("rollback", { settle_timeout = 5 })
    child.handle:kill "sigstop"
    assert.equal("waiting", manager:try_start(new))
    clock.advance(5)
    assert.equal("started", manager:try_start(new))
    child.handle:kill "sigcont"
    child:say "late"
    child:expect "stale_owner stale_owner stale_owner true"
    assert.equal("interrupted", store:get(old).status)
  end)

  it("OWN-2: an owner that was asked to stop by hand may take its time: nobody waits for it", function()
    local child, old = owner()
    local manager = support.manager(store, { settle_timeout = 5 })
    assert.same({ true, "requested" }, { manager:cancel(old) })
    clock.advance(1e6)
    assert.same({}, assert(manager:tick()).recovered)
    assert.same({}, assert(manager:reconcile_orphaned_inflight_runs()))
    child:say "finish"
    child:expect "interrupted"
  end)
end)

describe("A newcomer to be claimed, behind a run of another session that was asked to stop", function()
  after_each(support.clean_up)

  it("OWN-10: is claimed when the owner has outstayed settle_timeout and somebody ticks", function()
    local pair = require "support.pair" { settle_timeout = 5 }
    local old = pair.started()
    local new = assert(pair.ours:create_or_reject("t", { multitask_strategy = "interrupt", claimable = true }))
    for _ = 1, 2 do
      assert(pair.ours:tick())
      assert.is_nil(pair.ours:claim_next())
      pair.clock.advance(2.4)
    end
    pair.clock.advance(0.2)
    assert(pair.ours:tick())
    assert.equal(new.run_id, assert(pair.ours:claim_next()).run_id)
    pair.is_shut_out(pair.theirs, old.run_id)
  end)
end)
