--- The command on a store that is on a PostgreSQL server.
local command = require "support.command"
local support = require "support"

local function at(uri)
  return function(...) return command.run({ ... }, { env = { KEEL_STORE = uri } }) end
end

describe("keel on a server's store", function()
  if not os.getenv "KEEL_TEST_POSTGRES" then return pending "KEEL_TEST_POSTGRES names no server" end
  local run
  before_each(function() run = at(support.server_uri()) end)
  after_each(support.clean_up)

  it("runs a command, lists it and shows its events", function()
    assert.equal("hello\n", run("exec", "echo", "hello").output)
    local list = run("runs", "list")
    assert.equal(0, list.code, list.errors)
    assert.is_truthy(list.output:find("success .*echo hello"))
    assert.is_truthy(run("events").output:find "run_finished")
    assert.is_truthy(run("stats").output:find "runs +1")
  end)

  it("finds nothing wrong, and names the place without the user", function()
    assert.equal(0, run("exec", "true").code)
    local doctor = run("doctor")
    assert.equal(0, doctor.code, doctor.output .. doctor.errors)
    assert.is_truthy(doctor.output:find "^postgresql://[^ ]*%?schema=spec_[^ ]*: all is well\n$")
    assert.is_nil(doctor.output:find("user=", 1, true))
  end)

  it("says what only a file can do", function()
    assert.equal(0, run("exec", "true").code)
    local backup = run("backup", support.path())
    assert.equal(1, backup.code)
    assert.is_truthy(backup.errors:find("pg_dump --schema=", 1, true))
  end)
end)

describe("keel with a bad uri of a server", function()
  if not package.searchpath("keel.postgres", package.cpath) then return pending "keel.postgres is not built" end
  after_each(support.clean_up)

  it("says what is wrong, and shows neither user nor password", function()
    local run = at "postgresql://somebody:secret@127.0.0.1:1/nowhere"
    for _, words in ipairs { { "runs", "list" }, { "exec", "true" }, { "doctor" } } do
      local result = run(table.unpack(words))
      assert.not_equal(0, result.code)
      local said = result.output .. result.errors
      assert.is_nil(said:find("secret", 1, true), said)
      assert.is_nil(said:find("somebody", 1, true), said)
      assert.is_nil(said:find("folder", 1, true), said)
    end
  end)
end)
