--- keel doctor on a server's store: what is wrong with the server.
local command = require "support.command"
local files = require "support.files"
local json = require("keel").json
local process = require "support.process"
local support = require "support"

-- What the rules find in what a server tells; `given` is what differs from a sound one.
local JUDGE = [[
local findings = { add = function(self, severity, code, message, advice)
  self[#self + 1] = keel.json.encode { severity = severity, code = code, message = message, advice = advice }
end }
require("keel.cli.doctor.server").judge(assert(keel.json.decode(arg[1])), findings)
for _, line in ipairs(findings) do print(line) end
]]

local sound = { version = 150004, standby = false, fsync = true, autovacuum = true, has_standbys = true,
  synchronous_commit = "on", clock_skew = -0.9, oldest = 299, oldest_pid = 7, blocked = 3, blocking = 0.9,
  blocking_pid = 8, rows = 10, dead_rows = 99999,
  connections = 90, connections_max = 100 }

local function judge(given)
  local about = {}
  for name, value in pairs(sound) do about[name] = value end
  for name, value in pairs(given) do about[name] = value end
  local script = support.dir() .. "/judge.lua"
  files.write(script, JUDGE)
  local result = command.run { "run", script, json.encode(about) }
  assert.equal("", result.errors)
  return result.output:match "[^\n]+" and json.decode(result.output) or nil
end

describe("keel doctor", function()
  after_each(support.clean_up)

  it("finds nothing wrong with a sound server", function() assert.is_nil(judge {}) end)

  for _, case in ipairs {
    { { lacking = "DELETE on runs" }, "rights", "DELETE on runs", "GRANT" },
    { { fsync = false }, "fsync", "may be damaged", "fsync = on in postgresql.conf" },
    { { synchronous_commit = "local" }, "synchronous_commit", "(synchronous_commit = local)",
      "set synchronous_commit = on" },
    { { standby = true }, "standby", "can only be read", "target_session_attrs=read-write" },
    { { clock_skew = -90 }, "clock_skew", "90s behind", "chrony" },
    { { clock_skew = 2 }, "clock_skew", "ahead", "chrony" },
    { { oldest = 7200 }, "oldest_transaction", "process 7 has had a transaction open for 2h",
      "pg_terminate_backend(7)" },
    { { oldest = 7200, oldest_pid = 0 }, "oldest_transaction", "a prepared transaction", "ROLLBACK PREPARED" },
    { { blocking = 90 }, "write_lock", "process 8 of the server has had a transaction open for 90s that 3 other"
      .. " connections wait for", "pg_terminate_backend(8)" },
    { { autovacuum = false }, "autovacuum", "autovacuum is off", "autovacuum = on in postgresql.conf" },
    { { dead_rows = 100000 }, "dead_rows", "100000 rows are dead and 10 live", "VACUUM" },
    { { connections = 91 }, "connections", "91 of 100 connections are taken", "max_connections" },
  } do
    it("says of a server: " .. case[3], function()
      local finding = judge(case[1])
      assert.equal(case[2], finding.code)
      assert.is_truthy(finding.message:find(case[3], 1, true), finding.message)
      assert.is_truthy(finding.advice:find(case[4], 1, true), finding.advice)
    end)
  end

  it("leaves alone many dead rows among many more live ones", function()
    assert.is_nil(judge { dead_rows = 100000, rows = 1000000 })
    assert.is_nil(judge { synchronous_commit = "off" }) -- a store that promises the disk sets it on
  end)
end)

describe("A store on a server", function()
  if not os.getenv "KEEL_TEST_POSTGRES" then return pending "KEEL_TEST_POSTGRES names no server" end
  after_each(support.clean_up)

  it("tells what there is to know of it", function()
    local uri = support.server_uri()
    local store = support.open(uri)
    assert(store:put("r", { thread_id = "t" }))
    local about = assert(store:server())
    assert.is_true(about.version >= 140000)
    assert.is_true(about.connections >= 1 and about.connections < about.connections_max)
    assert.is_true(math.abs(about.clock_skew) < 5) -- one machine has one clock
    assert.same({ false, true, false }, { about.standby, about.autovacuum, about.has_standbys })
    assert.is_nil(about.lacking)
    assert.is_true(about.oldest < 300)
    assert.same({ 0, 0, 0 }, { about.blocked, about.blocking, about.blocking_pid })
    local ahead = support.open(uri, { clock = function() return os.time() - 3600 end })
    assert.is_true(math.abs(assert(ahead:server()).clock_skew - 3600) < 5)
    support.refused("not_supported", support.open(":memory:"):server())
  end)

  it("tells whom others wait for, and for how long", function()
    local uri = support.server_uri()
    local store, looks = support.open(uri), support.open(uri)
    assert(store:put("r", { thread_id = "t" }))
    local holds = assert(store:begin())
    assert(holds:update_status("r", "success"))
    process.spawn(support.dir(), [[
      local store = assert(require("keel").open(arg[1], { lock_timeout = 60 }))
      store:update_status("r", "error")
    ]], { uri })
    local about
    assert.is_true(process.poll_until(function()
      about = assert(looks:server())
      return about.blocked == 1
    end))
    assert.is_true(about.blocking > 0 and about.blocking < 60)
    assert.is_true(about.blocking_pid > 0)
    holds:rollback()
  end)
end)
