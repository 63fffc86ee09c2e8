--- What is asked of a store on a server only; skipped unless KEEL_TEST_POSTGRES names one (tests/postgres.sh).
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
