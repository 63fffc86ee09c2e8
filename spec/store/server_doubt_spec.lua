--- A commit without an answer, and a server that crashed before it came to the disk: the number of its transaction is
--- given again, to somebody else's that commits.
local process = require "support.process"
local proxies = require "support.proxy"
local support = require "support"

describe("A commit that a crash took back before its answer came", function()
  if not os.getenv "KEEL_TEST_POSTGRES" then return pending "KEEL_TEST_POSTGRES names no server" end
  local folder, uri
  before_each(function()
    folder = support.dir() .. "/server"
    assert(os.execute("chmod 755 " .. folder:match "^(.*)/"))
    local pipe <close> = assert(io.popen("tests/postgres.sh start " .. folder))
    uri = assert(pipe:read "l")
    -- What nobody waits for stays in memory.
    assert(os.execute(("psql --quiet '%s' --command=\"ALTER SYSTEM SET wal_writer_delay = '10s'\" "
      .. "--command='SELECT pg_reload_conf()' >/dev/null"):format(uri)))
    uri = uri .. "&schema=doubt"
  end)
  after_each(function()
    if folder then os.execute(("tests/postgres.sh stop %s 2>/dev/null"):format(folder)) end
    folder = nil
    support.clean_up()
  end)

  it("PG-4: is not taken for done because another has its number by then", function()
    local witness = support.open(uri, { durability = "off" })
    local proxy = proxies.start(uri)
    local child = support.spawn([[
      local store = assert(keel.open((...), { durability = "normal" }))
      assert(store:session_id())
      say "ready"
      for name in hear do
        local done, err = store:put(name, { thread_id = "t" })
        say(done and "done" or err.code .. " " .. tostring(err.transient))
      end
    ]], { proxy.uri })
    local function put(name)
      child:say(name)
      return child:hear()
    end
    child:expect "ready"
    assert.equal("done", put "prepares")
    proxy:lose "count"
    assert.equal("done", put "counts")
    proxy:lose("mute", proxy:told().trips)
    child:say "doubted"
    assert.is_true(process.poll_until(function() return witness:get "doubted" ~= nil end))
    assert(os.execute(("tests/postgres.sh restart %s"):format(folder)))
    local function there(name)
      local row, err
      repeat row, err = witness:get(name) until row or not (err and err.transient)
      return row ~= nil
    end
    assert.is_false(there "doubted", "it came to the disk: nothing is shown")
    local other = support.open(uri)
    for i = 1, 20 do assert(other:put("other" .. i, { thread_id = "t" })) end
    proxy:unmute()
    -- It is known not to be done, and so it is done again.
    assert.equal("done", child:hear())
    assert.is_true(there "doubted")
    assert.same({}, other:verify())
  end)
end)
