--- What is asked of a store on a server only; skipped unless KEEL_TEST_POSTGRES names one (tests/postgres.sh).
local command = require "support.command"
local keel = require "keel"
local support = require "support"

describe("A store on a server", function()
  if not os.getenv "KEEL_TEST_POSTGRES" then return pending "KEEL_TEST_POSTGRES names no server" end
  local uri
  before_each(function() uri = support.server_uri() end)
  after_each(support.clean_up)

  it("cannot be had alone, and says so", function()
    local store, err = keel.open(uri, { exclusive = true })
    assert.is_nil(store)
    assert.equal("not_supported", err.code)
    assert.matches("exclusive", err.message)
  end)

  it("keeps nobody who waits for events until another's transaction ends", function()
    local writer, reader = support.open(uri), support.open(uri)
    local cursor
    assert(writer:transaction(function(tx)
      assert(tx:append_event { kind = "written" })
      cursor = assert(reader:read_events(nil, 10)).cursor
      local started = os.time()
      assert.is_false(reader:wait_events(cursor, { timeout = 0.1 }))
      assert.is_true(os.time() - started <= 2)
    end))
    assert.is_true(reader:wait_events(cursor, { timeout = 5 }))
  end)

  it("is used by the keel command, which finds the driver and shows no password", function()
    local env = { KEEL_STORE = (uri:gsub("^postgresql://", "postgresql://keel:secret@")) }
    local function run(...)
      local result = command.run({ ... }, { env = env })
      assert.is_nil((result.output .. result.errors):find("secret", 1, true), result.errors)
      return result
    end
    assert.matches("there is no such schema", run("doctor").output)
    assert.matches("there is no such schema", run("stats").errors)
    local made = run("exec", "--", "false")
    assert.equal(1, made.code, made.errors)
    assert.is_nil(run("doctor").output:find("warning: ", 1, true))
    assert.equal(1, run("runs", "retry", "--yes", run("runs", "list", "--json").output:match '"run_id":"(.-)"').code)
    assert.matches("runs +2\n", run("stats").output)
    assert.matches("pg_restore", run("restore", "--yes", "x").errors)
    assert.matches("pg_dump", run("backup", "x").errors)
  end)

  it("says what kept a reader from looking", function()
    local store = support.open(uri)
    assert(store:put("r", { thread_id = "t" }))
    local other = support.open(uri)
    os.execute(("psql -q '%s' -c 'ALTER TABLE \"%s\".store RENAME epoch TO other' >/dev/null"):format(
      os.getenv "KEEL_TEST_POSTGRES", uri:match "schema=([%w_]+)"))
    local _, err = other:verify()
    assert.equal("store_corrupt", err.code)
  end)
end)
