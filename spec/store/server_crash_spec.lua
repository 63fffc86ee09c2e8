--- A short run of a server's crashes under load (tests/torture/crash.lua), and of the one that must lose something;
--- processes that are stopped.
local process = require "support.process"
local support = require "support"

local ROOT = debug.getinfo(1, "S").source:match "^@(.-)spec/store/[^/]*$"
local PATIENCE = 120000

local function crash(...)
  local child = support.spawn([[
    arg = { [0] = ..., select(2, ...) }
    dofile(arg[0])
  ]], { ROOT .. "tests/torture/crash.lua", ... })
  assert.is_true(process.turn_until(function() return child.code end, PATIENCE))
  local code, _, output = child:wait()
  return code, output .. child.errors
end

describe("A server that is killed under load, and started again", function()
  if not os.getenv "KEEL_TEST_POSTGRES" then return pending "KEEL_TEST_POSTGRES names no server" end
  after_each(support.clean_up)

  it("PG-4: loses nothing acknowledged, changes nothing a reader saw, and takes no run from the living", function()
    local code, output = crash("--crashes", "3", "--writers", "4")
    assert(code == 0, output)
    assert.matches(" 0 lost; .* 0 changed; 0 done twice, 0 runs taken from the living", output)
  end)

  it("loses some of it when durability is normal, so that the test would see a loss", function()
    local code, output = crash("--crashes", "3", "--writers", "4", "--control")
    assert(code == 0, output)
    assert.is_nil(output:find(" 0 lost", 1, true))
  end)
end)

describe("A process with a store on a server", function()
  if not os.getenv "KEEL_TEST_POSTGRES" then return pending "KEEL_TEST_POSTGRES names no server" end
  local uri
  before_each(function() uri = support.server_uri() end)
  after_each(support.clean_up)

  it("that is stopped in a transaction keeps others waiting for no longer than they said, and goes on", function()
    local store = support.open(uri, { lock_timeout = 0.2 })
    local child = support.spawn([[
      local store = assert(keel.open((...)))
      local tx = assert(store:begin())
      assert(tx:put("theirs", { thread_id = "t" }))
      say "has it"
      hear()
      assert(tx:commit())
      say "done"
    ]], { uri })
    child:expect "has it"
    child.handle:kill "sigstop"
    local started = os.time()
    local done, err = store:put("mine", { thread_id = "t" })
    assert.is_nil(done)
    assert.equal("busy", err.code)
    assert.is_true(err.transient and os.time() - started <= 2)
    assert.is_nil(store:get "theirs")
    child.handle:kill "sigcont"
    child:say "go on"
    child:expect "done"
    assert(store:put("mine", { thread_id = "t" }))
    assert.same({}, store:verify())
  end)

  it("is alive while it is stopped", function()
    local store = support.open(uri)
    local child = support.spawn([[
      local store = assert(keel.open((...)))
      say(tostring(store:session_id()))
      hear()
    ]], { uri })
    local session = math.tointeger(tonumber(child:hear()))
    child.handle:kill "sigstop"
    assert.is_true(store:session_alive(session))
    child.handle:kill "sigcont"
  end)
end)
