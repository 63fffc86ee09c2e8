--- Two machines, as two network namespaces: the server on one, a process on the other, and a cable that is cut and put
--- back. Skipped where none can be made, as without the rights for it.
local process = require "support.process"
local servers = require "support.servers"
local support = require "support"

local OWN, FAR = "keel-own-" .. process.pid(), "keel-far-" .. process.pid()
local ADDRESS = "10.213.77.1"
local TOLD_WITHIN = 20 -- seconds; the cable is noticed after some ten, and then lock_timeout is waited for

local function run(...) return os.execute(("%s >/dev/null 2>&1"):format((...):format(select(2, ...)))) == true end

local function make_machines()
  return run("ip netns add %s", OWN) and run("ip netns add %s", FAR)
    and run("ip link add cable netns %s type veth peer name cable netns %s", OWN, FAR)
    and run("ip -n %s address add %s/24 dev cable", OWN, ADDRESS) and run("ip -n %s link set cable up", OWN)
    and run("ip -n %s address add 10.213.77.2/24 dev cable", FAR) and run("ip -n %s link set cable up", FAR)
end

describe("A cable between a process and its server", function()
  if not os.getenv "KEEL_TEST_POSTGRES" then return pending "KEEL_TEST_POSTGRES names no server" end
  after_each(function()
    servers.clean_up()
    run("ip netns delete %s", OWN)
    run("ip netns delete %s", FAR)
  end)

  it("PG-3: that is cut is told of in time, frees what was held, and heals with no run that has two owners", function()
    if not make_machines() then return pending "no network namespaces can be made here" end
    local uri = servers.start(("KEEL_TEST_LISTEN=%s ip netns exec %s"):format(ADDRESS, OWN))
    local near = support.open(uri .. "&schema=far")
    local child = support.spawn([[
      local store = assert(keel.open((...), { lock_timeout = 2 }))
      local runs = keel.run_manager { store = store, retry = keel.retry_policy { max_attempts = 1 } }
      local run = assert(runs:create_or_reject "t")
      assert(runs:try_start(run.run_id))
      say(run.run_id)
      hear()
      local started = os.time()
      local done, err = store:append_event { kind = "note", message = "cut" }
      say(("%s %s %d"):format(done and "done" or err.code, tostring(err and err.transient), os.time() - started))
      hear()
      repeat done, err = runs:update_run_completion(run.run_id, { status = "success" }) until done or not err.transient
      say(done and "done" or err.code)
      assert(store:append_event { kind = "note", message = "healed" })
      say "healed"
    ]], { ("postgresql://keel@%s/postgres?schema=far&connect_timeout=2"):format(ADDRESS) },
      { prefix = { "ip", "netns", "exec", FAR } })
    local run_id = child:hear()
    local theirs = near:get(run_id).session_id
    assert.is_true(near:session_alive(theirs))
    assert.is_true(run("ip -n %s link set cable down", OWN))
    local cut = os.time()
    child:say "write"
    local code, transient, seconds = child:hear():match "^(%S+) (%S+) (%d+)$"
    assert.is_true(code == "io" or code == "busy", code)
    assert.equal("true", transient)
    assert.is_true(tonumber(seconds) <= TOLD_WITHIN, seconds)
    assert.is_true(process.poll_until(function() return not near:session_alive(theirs) end))
    assert.is_true(os.time() - cut <= TOLD_WITHIN)
    local runs = support.manager(near)
    assert.equal(1, #assert(runs:reconcile_orphaned_inflight_runs { error = "cut off" }))
    assert.is_true(run("ip -n %s link set cable up", OWN))
    child:say "go on"
    assert.equal("stale_owner", child:hear())
    child:expect "healed"
    assert.equal("error", near:get(run_id).status)
    local notes = 0
    for _, event in ipairs(support.events(near, { kinds = { "note" } })) do
      notes = notes + (event.message == "healed" and 1 or 0)
      assert.not_equal("cut", event.message)
    end
    assert.equal(1, notes)
    assert.same({}, near:verify())
  end)
end)
