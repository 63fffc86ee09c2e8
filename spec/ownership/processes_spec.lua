--- Who owns what among real processes.
local support = require "support"

--- A child that makes `count` runs, every second one started, and lives until it is killed or told to go.
local OWNER = [[
  local path, count = ...
  local store = assert(keel.open(path))
  local manager = keel.run_manager { store = store }
  for i = 1, math.tointeger(count) do
    local run = assert(manager:create("t" .. i))
    if i % 2 == 0 then assert(manager:set_status(run.run_id, "running")) end
  end
  say "ready"
  if hear() == "finish" then
    for i = 1, math.tointeger(count) do
      assert(manager:set_status(manager:list_by_thread("t" .. i)[1].run_id, "success"))
    end
    say "finished" hear()
  end
]]

local function owner(path, count)
  local child = support.spawn(OWNER, { path, count })
  child:expect "ready"
  return child
end

local function recover(store)
  return assert(support.manager(store):reconcile_orphaned_inflight_runs { error = "lost" })
end

support.each_shared("Among processes", function(place)

  it("OWN-2: starting a second process on the store hurts nobody", function()
    local path = place()
    local child = owner(path, 4)
    local store = support.open(path)
    assert.same({}, recover(store))
    child:say "finish"
    child:expect "finished"
    assert.equal(4, #support.events(store, { kinds = { "run_finished" } }))
    for i = 1, 4 do assert.equal("success", store:list_by_thread("t" .. i)[1].status) end
  end)

  it("OWN-2: another handle of this process is alive as well", function()
    local path = place()
    local one, two = support.open(path), support.open(path)
    local run = assert(support.manager(one):create "t")
    assert.same({}, recover(two))
    one:close()
    assert.same({ run.run_id }, support.pluck(recover(two), "run_id"))
  end)

  it("OWN-3: the moment an owner dies by kill -9, all its runs are orphans", function()
    local path = place()
    local store = support.open(path)
    local child = owner(path, 7)
    assert.same({}, recover(store))
    child:kill()
    local found = recover(store)
    assert.equal(7, #found)
    for _, run in ipairs(found) do
      assert.same({ "error", "lost", "orphan_recovered" }, { run.status, run.error, run.stop_reason })
    end
    assert.same({}, store:list_inflight {})
    assert.same({}, recover(store))
  end)

  it("OWN-3: an owner that ends in order leaves orphans just so", function()
    local path = place()
    local child = owner(path, 3)
    child:say "go"
    child:finish()
    assert.equal(3, #recover(support.open(path)))
  end)

  it("OWN-3: only the dead owner's runs are taken", function()
    local path = place()
    owner(path, 3):kill()
    local alive = owner(path, 2)
    local store = support.open(path)
    assert.equal(3, #recover(store))
    assert.equal(2, #store:list_inflight {})
    alive:kill()
    assert.equal(2, #recover(store))
  end)

  it("OWN-4: of two reconcilers at once each orphan is reported by exactly one", function()
    local path, orphans = place(), 60
    owner(path, orphans):kill()
    local reconcilers = {}
    for i = 1, 2 do
      reconcilers[i] = support.spawn([[
        local manager = keel.run_manager { store = assert(keel.open((...), { durability = "normal" })) }
        say "ready" hear()
        local ids = keel.array {}
        for i, run in ipairs(assert(manager:reconcile_orphaned_inflight_runs { error = "lost" })) do
          ids[i] = run.run_id
        end
        say(keel.json.encode(ids))
      ]], { path })
    end
    for _, child in ipairs(reconcilers) do child:expect "ready" end
    for _, child in ipairs(reconcilers) do child:say "go" end
    local reported, sum = {}, 0
    for _, child in ipairs(reconcilers) do
      for _, run_id in ipairs(require("keel").json.decode(child:hear())) do
        assert.is_nil(reported[run_id], "reported twice")
        reported[run_id], sum = true, sum + 1
      end
      child:finish()
    end
    assert.equal(orphans, sum)
    local store = support.open(path)
    assert.equal(orphans, #support.events(store, { kinds = { "run_finished" } }))
    assert.same({}, store:verify())
  end)

  it("OWN-4: of two managers on one store, one after the other, the first reports all", function()
    local path = place()
    owner(path, 3):kill()
    local one, two = support.open(path), support.open(path)
    assert.same({ 3, 0 }, { #recover(one), #recover(two) })
  end)

  it("a late writer is refused after its run was recovered, and told", function()
    local path = place()
    local store, other = support.open(path), support.open(path)
    local manager = support.manager(store)
    local run = assert(manager:create "t")
    assert(manager:set_status(run.run_id, "running"))
    assert(other:put(run.run_id, { session_id = require("keel").null }))
    assert.equal(1, #recover(other))
    local done, err = manager:set_status(run.run_id, "success")
    assert.is_nil(done)
    assert.truthy(err.code == "stale_owner" or err.code == "invalid_transition", err.code)
    assert.same({ "error", "error" }, { run.status, other:get(run.run_id).status })
  end)
end)
