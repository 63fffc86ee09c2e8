--- A commit without an answer, and a server that crashed before it came to the disk: the number of its transaction is
--- given again, to somebody else's that commits.
local process = require "support.process"
local proxies = require "support.proxy"
local servers = require "support.servers"
local support = require "support"

describe("A commit that a crash took back before its answer came", function()
  if not os.getenv "KEEL_TEST_POSTGRES" then return pending "KEEL_TEST_POSTGRES names no server" end
  local folder, uri
  before_each(function()
    uri, folder = servers.start()
    -- What nobody waits for stays in memory.
    assert(os.execute(("psql --quiet '%s' --command=\"ALTER SYSTEM SET wal_writer_delay = '10s'\" "
      .. "--command='SELECT pg_reload_conf()' >/dev/null"):format(uri)))
  end)
  after_each(servers.clean_up)

  -- Loses the answer to a commit that is not on the disk, has the server crash, and others write until the number of
  -- the transaction is one of theirs.
  local function doubt(path, crashes)
    local witness = support.open(path, { durability = "off" })
    local proxy = proxies.start(path)
    local child = process.spawn(support.dir(), [[ -- nobody waits for the server's grace when it ends
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
    servers.restart(folder)
    local function there(name)
      local row, err
      repeat row, err = witness:get(name) until row or not (err and err.transient)
      return row ~= nil
    end
    assert.is_false(there "doubted", "it came to the disk: nothing is shown")
    local other = support.open(path)
    for i = 1, 20 do assert(other:put("other" .. i, { thread_id = "t" })) end
    for _ = 2, crashes do
      servers.restart(folder)
      assert.is_true(there "other20")
    end
    proxy:unmute()
    -- It is known not to be done, and so it is done again.
    assert.equal("done", child:hear())
    assert.is_true(there "doubted")
    assert.same({}, support.open(path):verify())
  end

  it("PG-4: is not taken for done because another has its number by then, after a crash and after two", function()
    doubt(uri .. "&schema=once", 1)
    doubt(uri .. "&schema=twice", 2)
  end)
end)
