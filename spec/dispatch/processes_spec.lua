--- Dispatchers in real processes: many at once, and killed ones.
local keel = require "keel"
local support = require "support"

local PROCESSES, ROUNDS, HASHES = 20, 10, 3

--- Prepares on the machine it hears of, again and again; says what came of it.
local CONTENDER = [[
  local path, hash = ...
  local dispatcher = keel.dispatcher { store = assert(keel.open(path, { durability = "off" })) }
  say "ready"
  for machine in hear do
    local calls = 0
    local run, verdict = dispatcher:prepare_atomic(machine, hash, function()
      calls = calls + 1
      return { test_dir = "/srv/" .. hash }
    end)
    say(keel.json.encode { id = run and run.id, hash = run and run.test_dir_hash, verdict = tostring(verdict),
      calls = calls })
  end
]]

local function prepare(dispatcher, machine, hash)
  return dispatcher:prepare_atomic(machine or "m1", hash or "h1", function() return { test_dir = "/srv/t" } end)
end

support.each_shared("Twenty processes that prepare on one machine with three hashes", function(place)

  -- One round: everybody is told at once. Gives the answers.
  local function everybody(children, machine)
    local answers = {}
    for _, child in ipairs(children) do child:say(machine) end
    for i, child in ipairs(children) do answers[i] = keel.json.decode(child:hear()) end
    return answers
  end

  it("DISPATCH-4: get exactly one created, and all others name that run, ten times out of ten", function()
    local path, children = place(), {}
    local store = support.open(path, { durability = "off" })
    local dispatcher = keel.dispatcher { store = store }
    for i = 1, PROCESSES do children[i] = support.spawn(CONTENDER, { path, "h" .. i % HASHES }) end
    for _, child in ipairs(children) do child:expect "ready" end
    for round = 1, ROUNDS do
      local answers = everybody(children, "m1")
      local active = assert(dispatcher:active_by_machine "m1")
      local counts, calls = { created = 0, reuse = 0, busy = 0 }, 0
      for i, answer in ipairs(answers) do
        assert.equal(active.id, answer.id)
        local same = active.test_dir_hash == "h" .. i % HASHES
        if answer.verdict ~= "created" then assert.equal(same and "reuse" or "busy", answer.verdict) end
        assert.equal(answer.verdict == "created" and 1 or 0, answer.calls)
        counts[answer.verdict] = counts[answer.verdict] + 1
        calls = calls + answer.calls
      end
      assert.same({ 1, PROCESSES - 1, 1, round }, { counts.created, counts.reuse + counts.busy, calls,
        #dispatcher:list() })
      active.status = "completed"
      assert(dispatcher:update(active))
    end
    assert.same({}, store:verify())
  end)
end)

support.each_shared("A dispatcher that is killed", function(place)
  local path, store, dispatcher
  before_each(function()
    path = place()
    store = support.open(path)
    dispatcher = keel.dispatcher { store = store }
  end)

  -- The id of a run that a process made, started if `start`, and was killed over.
  local function dead_run(start)
    local child = support.spawn([[
      local path, start = ...
      local dispatcher = keel.dispatcher { store = assert(keel.open(path)) }
      local run = assert(dispatcher:prepare_atomic("m1", "h1", function() return { batch_id = "b" } end))
      if start == "true" then
        run.status = "running"
        assert(dispatcher:update(run))
      end
      say(run.id)
      hear()
    ]], { path, start })
    local id = child:hear()
    assert.equal("busy", select(2, prepare(dispatcher, "m1", "h2"))) -- it lives
    local runs = support.manager(store)
    assert.same({}, runs:reconcile_orphaned_inflight_runs())
    child:kill()
    return id
  end

  local function is_interrupted(id)
    local run = dispatcher:get(id)
    assert.same({ "interrupted", "dispatcher_died", "b" }, { run.status, run.error_code, run.batch_id })
    assert.is_truthy(run.ended_at)
    assert.not_equal("", run.error_msg)
  end

  it("DISPATCH-5: inside make leaves nothing, and no lock", function()
    local child = support.spawn([[
      local dispatcher = keel.dispatcher { store = assert(keel.open((...))) }
      dispatcher:prepare_atomic("m1", "h1", function()
        say "inside"
        hear()
      end)
    ]], { path })
    child:expect "inside"
    local waiting = support.open(path, { lock_timeout = 0.05 })
    support.refused("busy", waiting:put("x", { thread_id = "t" }))
    child:kill()
    assert.same({}, dispatcher:list())
    assert.equal("created", select(2, prepare(keel.dispatcher { store = waiting })))
    assert.same({ "run_created" }, support.pluck(support.events(store), "kind"))
    assert.same({}, store:verify())
  end)

  for _, start in ipairs { false, true } do
    local when = start and "while its run is running" or "between create and start"

    it("DISPATCH-12: " .. when .. " leaves an orphan that any reconciler interrupts", function()
      local id = dead_run(start)
      local recovered = assert(support.manager(store):reconcile_orphaned_inflight_runs {
        reconciler = "requeue_orphans", -- the run's own wins
      })
      assert.same({ id }, support.pluck(recovered, "run_id"))
      is_interrupted(id)
      assert.is_nil(dispatcher:active_by_machine "m1")
      assert.equal("created", select(2, prepare(dispatcher)))
    end)

    it("DISPATCH-12: " .. when .. " is recovered by the next who prepares there, in one transaction", function()
      local id = dead_run(start)
      local failing = support.wrap(store, { tx = { put = support.fail(1, support.broken()) } })
      support.refused("store_corrupt", prepare(keel.dispatcher { store = failing }))
      assert.equal(start and "running" or "pending", dispatcher:get(id).status)
      assert.equal("created", select(2, prepare(dispatcher)))
      is_interrupted(id)
    end)

    it("DISPATCH-12: " .. when .. " is recovered by a create", function()
      local id = dead_run(start)
      assert.equal("pending", assert(dispatcher:create { machine = "m1", test_dir_hash = "h1" }).status)
      is_interrupted(id)
    end)

    it("DISPATCH-8: " .. when .. ": a late update of its copy is refused", function()
      local id = dead_run(start)
      local copy = dispatcher:get(id)
      assert(support.manager(store):reconcile_orphaned_inflight_runs())
      copy.status = "completed"
      support.refused("conflict", dispatcher:update(copy))
      is_interrupted(id)
    end)
  end

  it("DISPATCH-12: leaves its queue to nobody: pending runs of a clean exit are interrupted as well", function()
    local child = support.spawn([[
      local dispatcher = keel.dispatcher { store = assert(keel.open((...))) }
      for i = 1, 3 do assert(dispatcher:create { machine = "m" .. i, test_dir_hash = "h", batch_id = "b" }) end
    ]], { path })
    child:finish()
    assert.equal(3, #support.manager(store):reconcile_orphaned_inflight_runs { error = "restarted" })
    local runs, counts = dispatcher:batch "b"
    assert.same({ 3, 3, "restarted" }, { #runs, counts.interrupted, runs[1].error_msg })
  end)
end)
