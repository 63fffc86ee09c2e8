--- Admission among real processes.
local support = require "support"

local THREADS, PROCESSES, SECONDS = 3, 8, 3

--- Admits, starts and finishes runs on the same few threads for a while; says how it went.
local CONTENDER = [[
  local path, threads, seconds, seed = ...
  local uv = require "luv"
  math.randomseed(math.tointeger(seed))
  local store = assert(keel.open(path))
  local manager = keel.run_manager { store = store }
  local counts = { done = 0, conflicts = 0, busy = 0, other = 0, last = "" }
  local function ask(result, err)
    if result ~= nil and result ~= false then return result end
    if err and err.code == "conflict" then counts.conflicts = counts.conflicts + 1
    elseif err and err.code == "busy" then counts.busy = counts.busy + 1
    else counts.other, counts.last = counts.other + 1, tostring(err) end
  end
  say "ready" hear()
  local finish = uv.hrtime() + math.tointeger(seconds) * 1000000000
  -- A disk that others keep busy may stand still for seconds; whoever got nowhere in so long starves.
  while uv.hrtime() < finish or (counts.done == 0 and uv.hrtime() < finish + 20e9) do
    local run = ask(manager:create_or_reject("thread-" .. math.random(math.tointeger(threads))))
    if run and ask(manager:set_status(run.run_id, "running")) and ask(manager:set_status(run.run_id, "success")) then
      counts.done = counts.done + 1
    end
  end
  store:close()
  say(keel.json.encode(counts))
]]

--- The most runs that were in flight at once on any one thread, as the log tells it, and how many were created.
local function most_in_flight(events)
  local inflight, most, created = {}, 0, 0
  for _, event in ipairs(events) do
    local change = event.kind == "run_created" and 1 or event.kind == "run_finished" and -1 or 0
    inflight[event.thread_id] = (inflight[event.thread_id] or 0) + change
    most = math.max(most, inflight[event.thread_id])
    if change == 1 then created = created + 1 end
  end
  return most, created, inflight
end

support.each_shared("Eight processes that admit on the same threads under reject", function(place)

  it("RUN-23: never have two runs of a thread in flight, and never see busy", function()
    local keel = require "keel"
    local path, children = place(), {}
    support.open(path):close()
    for i = 1, PROCESSES do children[i] = support.spawn(CONTENDER, { path, THREADS, SECONDS, i }) end
    for _, child in ipairs(children) do child:expect "ready" end
    for _, child in ipairs(children) do child:say "go" end
    local sum = { done = 0, conflicts = 0, busy = 0, other = 0 }
    for _, child in ipairs(children) do
      local counts = keel.json.decode(child:hear())
      for name in pairs(sum) do sum[name] = sum[name] + counts[name] end
      assert.equal("", counts.last)
      assert.is_true(counts.done > 0, "a process starved")
      child:finish()
    end
    assert.same({ 0, 0 }, { sum.busy, sum.other })
    local store = support.open(path)
    local events = support.events(store)
    local most, created, inflight = most_in_flight(events)
    assert.equal(1, most)
    assert.same({ sum.done, 3 * sum.done }, { created, #events })
    for i, event in ipairs(events) do assert.equal(i, event.id) end
    for _, left in pairs(inflight) do assert.equal(0, left) end
    assert.is_true(sum.conflicts > 0, "they never met")
    assert.same({}, store:verify())
  end)
end)

support.each_shared("A caller that dies", function(place)

  --- A child that admits a run on thread "t", and maybe starts it, and is killed.
  local function dead_callers_run(path, start)
    local child = support.spawn([[
      local path, start = ...
      local manager = keel.run_manager { store = assert(keel.open(path)) }
      local run = assert(manager:create_or_reject("t"))
      if start == "true" then assert(manager:try_start(run.run_id) == "started") end
      say(run.run_id)
      hear()
    ]], { path, start })
    local run_id = child:hear()
    child:kill()
    return run_id
  end

  for _, start in ipairs { false, true } do
    it("RUN-40: " .. (start and "after" or "before") .. " the start leaves nothing that blocks the thread", function()
      local path = place()
      local store = support.open(path)
      local dead = dead_callers_run(path, start)
      local run, how = support.manager(store):create_or_reject "t"
      assert.same({ "created", "pending" }, { how, run.status })
      local old = store:get(dead)
      assert.same({ "error", "orphan_recovered" }, { old.status, old.stop_reason })
    end)
  end

  it("RUN-40: its run is recovered in the same transaction as the next admission", function()
    local path = place()
    local store = support.open(path)
    local dead = dead_callers_run(path, true)
    local broken = support.manager((support.wrap(store, { tx = { put = support.fail(1, support.broken()) } })))
    assert.is_nil((broken:create_or_reject "t"))
    assert.equal("running", store:get(dead).status)
    assert.equal(2, #support.events(store))
    assert(broken:create_or_reject "t")
    assert.same({ "run_created", "run_started", "run_finished", "run_created" },
      support.pluck(support.events(store), "kind"))
  end)

  it("RUN-40: a live one's run is still in the way", function()
    local path = place()
    local child = support.spawn([[
      local manager = keel.run_manager { store = assert(keel.open((...))) }
      say(assert(manager:create_or_reject("t")).run_id)
      hear()
    ]], { path })
    local run_id = child:hear()
    local store = support.open(path)
    assert.equal(run_id, support.refused("conflict", support.manager(store):create_or_reject "t").run_id)
    assert.equal("pending", store:get(run_id).status)
  end)
end)
