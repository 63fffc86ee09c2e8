--- Executors in real processes: death, requests to stop, a store that somebody holds, and a queue for several.
local keel = require "keel"
local executors = require "support.executor"
local support = require "support"
local uv = require "luv"

--- A child whose executor runs the claimable runs of a store until it is told to go. Handlers: `wait` for the signal to
--- stop, `quick`.
local WORKER = [[
  local path, concurrency = ...
  local uv = require "luv"
  local store = assert(keel.open(path, { durability = "off" }))
  local runs = keel.run_manager { store = store }
  local executor
  executor = assert(keel.executor {
    manager = runs, concurrency = math.tointeger(concurrency), interval = 0.05, reconciler = "requeue_orphans",
    handlers = {
      wait = function(context)
        say("running " .. context.run.run_id)
        local _, err = context.sleep(60)
        say("told " .. (err and err.action or "nothing"))
        return nil, err
      end,
      quick = function(context) assert(context.sleep(0.001)) end,
    },
  })
  local input = uv.new_pipe()
  input:open(0)
  input:read_start(function() executor:stop { timeout = 0.1 } end)
  say "ready"
  executor:run()
  say(executor:stats().ended)
]]

support.each_shared("Executors among processes", function(place)
  local path, store, runs

  before_each(function()
    path = place()
    store = support.open(path, { durability = "off" })
    runs = support.manager(store)
  end)
  after_each(executors.clean_up)

  local function worker(concurrency)
    local child = support.spawn(WORKER, { path, concurrency or 8 })
    child:expect "ready"
    return child
  end

  local function claimable(thread_id, handler, options)
    local given = { claimable = true, kwargs = { handler = handler } }
    for name, value in pairs(options or {}) do given[name] = value end
    return assert(runs:create(thread_id, given)).run_id
  end

  it("hears at once of what another process makes, however rarely it looks by itself", function()
    local wrapped, calls = support.wrap(store)
    executors.started(support.manager(wrapped), function() end, { interval = 60, poll = 60 })
    for i = 1, 3 do
      local looks = calls.read_events
      local child = support.spawn([[
        local runs = keel.run_manager { store = assert(keel.open((...))) }
        say(assert(runs:create("t", { claimable = true })).run_id)
      ]], { path })
      executors.await_status(store, child:hear(), "success")
      assert.is_true(i == 1 or calls.read_events > looks)
    end
  end)

  it("claims what was given back when its delay is over, though it has no other reason to look", function()
    executors.started(runs, function(context)
      if context.run.attempt == 1 then error "once" end
    end, { interval = 60, poll = 60, backoff = keel.retry_policy { initial_delay = 0.1 } })
    executors.await_status(store, claimable("t", nil, { max_attempts = 2 }), "success")
  end)

  it("OWN-3: the runs of one that is killed are orphans at once, and another finishes them", function()
    local ids = {}
    for i = 1, 4 do ids[i] = claimable("t" .. i, "wait") end
    local child = worker()
    for _ = 1, 4 do assert.truthy(child:hear():find "^running") end
    child:kill()
    executors.started(runs, { wait = function() return { exit_code = 0 } end },
      { reconciler = "requeue_orphans" })
    executors.await_status(store, ids, "success")
    for _, id in ipairs(ids) do
      local row = store:get(id)
      assert.same({ 1, 1, 3 }, { row.losses, row.attempt, row.fence - 1 })
    end
  end)

  it("OWN-3: one that is killed leaves runs at every stage, and another brings all of them to an end", function()
    local child = support.spawn([[
      local store = assert(keel.open(..., { durability = "off" }))
      local runs = keel.run_manager { store = store }
      local hold = function(context) say("runs " .. context.run.thread_id) context.sleep(60) end
      local executor = assert(keel.executor { manager = runs, concurrency = 5, interval = 0.05, handlers = {
        hold = hold,
        spawning = function(context)
          assert(context.spawn "exec sleep 2")
          hold(context)
        end,
        failing = function(context)
          if context.run.attempt == 1 then error "once" end
          hold(context)
        end,
        deaf = function(context)
          say "runs deaf"
          repeat context.sleep(60) until false
        end,
      }, backoff = keel.retry_policy { initial_delay = 1.5 } })
      local function make(thread_id, handler, options)
        options = options or {}
        options.kwargs = { handler = handler }
        return assert(runs:create_or_reject(thread_id, options))
      end
      make("running", "hold")
      make("spawning", "spawning")
      make("claimed", "hold", { claimable = true })
      make("tried again", "failing", { max_attempts = 2 })
      make("deaf", "deaf")
      executor:start()
      local uv = require "luv"
      while executor:stats().started < 5 or executor:stats().ended < 1 do uv.run "once" end
      assert(runs:cancel(runs:list_by_thread("deaf")[1].run_id))
      make("full up", "hold") -- the fifth handler
      while executor:stats().started < 6 do uv.run "once" end
      make("waiting", "hold")
      make("waiting", "hold", { multitask_strategy = "enqueue" })
      make("deaf", "hold", { multitask_strategy = "interrupt" })
      make("delayed", "hold", { scheduled_at = os.date("!%Y-%m-%dT%H:%M:%SZ", os.time() + 1) })
      make("unclaimed", "hold", { claimable = true })
      say "all there"
      while true do uv.run "once" end
    ]], { path })
    local line
    repeat line = child:hear() until line == "all there"
    child:kill()
    local ids, stages = {}, {}
    for _, event in ipairs(support.events(store, { kinds = { "run_created" } })) do
      local row = store:get(event.run_id)
      ids[#ids + 1] = row.run_id
      local stage = row.finalizing and "finalizing" or row.claimable and row.status .. ", claimable" or row.status
      stages[stage] = (stages[stage] or 0) + 1
    end
    assert.same({ finalizing = 1, running = 4, pending = 4, ["pending, claimable"] = 2 }, stages)
    executors.started(runs, function() return { exit_code = 0 } end, { reconciler = "requeue_orphans" })
    local stopped = table.remove(ids, 5)
    executors.await_status(store, ids, "success")
    assert.same({ "interrupted", false }, { store:get(stopped).status, store:get(stopped).finalizing or false })
    for _, id in ipairs(ids) do
      assert.equal(1, #support.events(store, { run_id = id, kinds = { "run_finished" } }))
    end
    assert.same({}, store:verify())
  end)

  it("OWN-9: a handler hears at once that another process wants its run to stop", function()
    local id = claimable("t", "wait", { max_attempts = 5 })
    local child = worker()
    assert.truthy(child:hear():find "^running")
    local started = uv.hrtime()
    assert.same({ true, "requested" }, { runs:cancel(id, { action = "rollback" }) })
    child:expect "told rollback"
    assert.is_true((uv.hrtime() - started) / 1e9 < 5)
    executors.await_status(store, id, "interrupted")
    assert.equal("cancelled", store:get(id).stop_reason)
  end)

  it("hear from the log what others have finished and want to stop, long before the next tick", function()
    local other = support.manager(support.open(path, { durability = "off" }))
    local theirs = assert(other:create "t").run_id
    assert.equal("started", other:try_start(theirs))
    local mine = assert(runs:create_or_reject("t", { multitask_strategy = "enqueue" })).run_id
    local told
    executors.started(runs, function(context)
      if context.run.run_id == mine then told = select(2, context.sleep(60)) end
    end, { interval = 60 })
    executors.await_status(store, assert(runs:create "first").run_id, "success")
    assert.equal("pending", store:get(mine).status)
    assert(other:update_run_completion(theirs, { status = "success" }))
    executors.await_status(store, mine, "running")
    assert.same({ true, "requested" }, { other:cancel(mine) })
    executors.await(function() return told end, "the request")
    assert.equal("cancelled", told.code)
  end)

  it("OWN-7: one that hangs loses its runs, and does not write what became of them", function()
    local leased = support.manager(store, { lease_ttl = 0.3 })
    local id = assert(leased:create("t", { claimable = true, kwargs = { handler = "wait" } })).run_id
    local child = support.spawn(WORKER:gsub("{ store = store }", "{ store = store, lease_ttl = 0.3 }"), { path, 1 })
    child:expect "ready"
    assert.truthy(child:hear():find "^running")
    child.handle:kill "sigstop"
    executors.started(leased, { wait = function() return { exit_code = 0 } end }, { reconciler = "requeue_orphans" })
    executors.await_status(store, id, "success")
    child.handle:kill "sigcont"
    child:expect "told interrupt"
    child:say "stop"
    child:finish()
    assert.same({ "success", 0 }, { store:get(id).status, store:get(id).exit_code })
  end)

  it("share a queue: every run is done by one of them, once", function()
    local ids = {}
    for i = 1, 120 do ids[i] = claimable("t" .. i % 40, "quick") end
    local children = { worker(), worker(), worker() }
    executors.await_status(store, ids, "success")
    local done = 0
    for _, child in ipairs(children) do
      child:say "stop"
      done = done + math.tointeger(tonumber(child:hear()))
      child:finish()
    end
    assert.equal(120, done)
    assert.equal(120, #support.events(store, { kinds = { "run_started" } }))
    assert.equal(120, #support.events(store, { kinds = { "run_finished" } }))
  end)

  it("keep the order of a thread whose runs several start", function()
    local order = {}
    for i = 1, 8 do
      order[i] = assert(runs:create_or_reject("t", { claimable = true, multitask_strategy = "enqueue",
        kwargs = { handler = "quick" } })).run_id
    end
    local first, second = worker(2), worker(2)
    executors.await_status(store, order, "success")
    assert.same(order, support.pluck(support.events(store, { kinds = { "run_started" } }), "run_id"))
    for _, child in ipairs { first, second } do
      child:say "stop"
      child:hear()
      child:finish()
    end
  end)

  it("go on turning the loop while another holds the store, and write the end when it is free", function()
    local turns, held, ended = 0, false, false
    local blocking = support.open(path, { durability = "off" }) -- given no sleep: it would block the thread
    local mine = support.manager(blocking)
    local run = assert(mine:create "t")
    executors.started(mine, function(context)
      while not held do assert(context.sleep(0.005)) end
      ended = true
      return { exit_code = 0 }
    end, { interval = 60 }) -- on a server each sweep of a tick takes back the question for the lock
    executors.await(function() return run.task end, "the start")
    local holder = support.spawn([[
      local store = assert(keel.open(...))
      local tx = assert(store:begin())
      say "held" hear()
      tx:rollback()
      say "free" hear()
    ]], { path })
    holder:expect "held"
    held = true
    local timer = uv.new_timer()
    timer:start(1, 1, function() turns = turns + 1 end)
    local slowest, last = 0, uv.hrtime()
    local watch = uv.new_prepare()
    watch:start(function()
      slowest, last = math.max(slowest, uv.hrtime() - last), uv.hrtime()
    end)
    executors.await(function() return ended end, "the handler")
    local before = turns
    executors.await(function() return turns > before + 300 end, "turns of the loop")
    assert.equal("running", store:get(run.run_id).status)
    assert.is_true(slowest < 1e9, "the loop stood still for " .. slowest / 1e9)
    timer:close()
    watch:close()
    holder:say "let go"
    holder:expect "free"
    executors.await_status(store, run.run_id, "success")
    assert.equal(0, store:get(run.run_id).exit_code)
  end)
end)
