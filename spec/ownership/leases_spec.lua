local keel = require "keel"
local support = require "support"

--- A child that does as told with the lease "n": says the token or true, or the code.
local HOLDER = [[
  local store = assert(keel.open((...)))
  local lease
  local function answer(result, err) say(result or err.code) end
  for line in hear do
    if line == "lease" then
      local got, err = store:lease("n", { ttl = 3600 })
      lease = got or lease
      answer(got and got.token, err)
    elseif line == "close" then
      store:close()
      say "closed"
    else
      answer(lease[line](lease, 3600))
    end
  end
]]

local function ask(child, what, answer)
  child:say(what)
  child:expect(tostring(answer))
end

support.each_store(function(open)
  describe("A lease", function()
    local store, clock
    before_each(function()
      clock = support.clock()
      store = open { clock = clock.read, monotonic = clock.read, owner = "me" }
    end)

    it("has a name, a token, an owner and an end", function()
      local lease = assert(store:lease("n", { ttl = 1.5 }))
      assert.same({ "n", 1, "me", "2026-01-01T00:00:01.500000+00:00" },
        { lease.name, lease.token, lease.owner, lease.expires_at })
      assert.equal("integer", math.type(lease.token))
      assert.equal("keel.lease (n, token 1)", tostring(lease))
      assert.is_true(lease:held())
    end)

    it("OWN-14: has one holder, who is named to others and to itself", function()
      local lease = assert(store:lease("n", { ttl = 10, owner = "printer" }))
      local err = support.refused("lease_held", store:lease("n", { ttl = 10 }))
      assert.same({ "printer", lease.expires_at, false }, { err.owner, err.expires_at, err.transient })
      assert.equal(1, assert(store:lease("m", { ttl = 10 })).token)
    end)

    it("OWN-14: has a token that only grows: after release, expiry, refusals", function()
      local first = assert(store:lease("n", { ttl = 10 }))
      assert.is_true(first:release())
      local second = assert(store:lease("n", { ttl = 10 }))
      support.refused("lease_held", store:lease("n", { ttl = 10 }))
      clock.advance(10)
      local third = assert(store:lease("n", { ttl = 10 }))
      assert.same({ 1, 2, 3 }, { first.token, second.token, third.token })
    end)

    it("OWN-14: is free at once by release, and by expiry not before its time", function()
      local lease = assert(store:lease("n", { ttl = 10 }))
      clock.advance(9.999999)
      assert.is_true(lease:held())
      clock.advance(0.000002)
      assert.is_false(lease:held())
      lease = assert(store:lease("n", { ttl = 10 }))
      assert.is_true(lease:release())
      assert.is_false(lease:held())
      assert(store:lease("n", { ttl = 10 }))
    end)

    it("OWN-14: of a stale holder cannot be renewed or released, and nothing changes", function()
      local stale = assert(store:lease("n", { ttl = 10 }))
      clock.advance(11)
      local lease = assert(store:lease("n", { ttl = 10 }))
      local before = assert(store:get_lease "n")
      support.refused("stale_owner", stale:renew(100))
      support.refused("stale_owner", stale:release())
      assert.same({ "2026-01-01T00:00:10+00:00", false, true }, { stale.expires_at, stale:held(), lease:held() })
      assert.same(before, store:get_lease "n")
      assert(lease:release())
      support.refused("stale_owner", lease:renew(10))
      support.refused("stale_owner", lease:release())
    end)

    it("is renewed from now on, to an earlier end too", function()
      local lease = assert(store:lease("n", { ttl = 10 }))
      clock.advance(5)
      assert.is_true(lease:renew(10))
      assert.equal("2026-01-01T00:00:15+00:00", lease.expires_at)
      assert.is_true(lease:renew(1))
      assert.equal("2026-01-01T00:00:06+00:00", lease.expires_at)
      assert.equal(lease.expires_at, store:get_lease("n").expires_at)
    end)

    it("that has expired is renewed if nobody was granted the name since", function()
      local lease = assert(store:lease("n", { ttl = 10 }))
      clock.advance(3600)
      assert.is_true(lease:renew(10))
      assert.is_true(lease:held())
      assert.equal(1, lease.token)
    end)

    it("leaves no event", function()
      local lease = assert(store:lease("n", { ttl = 10 }))
      assert(lease:renew(10))
      assert(lease:release())
      assert.same({}, support.events(store))
    end)

    it("counts a ttl of more than a century as one", function()
      assert.equal("2126-03-18T00:00:00+00:00", assert(store:lease("n", { ttl = 1e300 })).expires_at)
    end)
  end)

  describe("Closing a lease", function()
    it("releases it, once", function()
      local store = open()
      local lease = assert(store:lease("n", { ttl = 10 }))
      lease:close()
      assert.is_false(lease:held())
      local other = assert(store:lease("n", { ttl = 10 }))
      lease:close()
      assert.is_true(other:held())
    end)

    it("happens at the end of its scope, by an error too", function()
      local store = open()
      do
        local lease <close> = assert(store:lease("n", { ttl = 10 }))
        assert.is_true(lease:held())
      end
      local ok, message = pcall(function()
        local lease <close> = assert(store:lease("n", { ttl = 10 }))
        error("oops with token " .. lease.token, 0)
      end)
      assert.same({ false, "oops with token 2" }, { ok, message })
      assert.equal(3, assert(store:lease("n", { ttl = 10 })).token)
    end)

    it("says nothing of a lease that is another's, or of a closed store", function()
      local clock = support.clock()
      local log, lines = support.log()
      local store = open { clock = clock.read, monotonic = clock.read, log = log }
      local stale = assert(store:lease("n", { ttl = 1 }))
      clock.advance(1)
      local lease = assert(store:lease("n", { ttl = 1 }))
      stale:close()
      assert.is_true(lease:held())
      store:close()
      lease:close()
      assert.same({}, lines)
    end)

    it("that fails is told to the log, and leaves the lease to its end", function()
      local log, lines = support.log()
      local store = open { log = log }
      local lease = assert(store:lease("n", { ttl = 10 }))
      local tx <close> = assert(store:begin())
      lease:close()
      lease:close()
      assert.equal(1, #lines)
      assert.same({ "warn", "n", 1, "busy" },
        { lines[1].level, lines[1].fields.lease, lines[1].fields.token, lines[1].fields.error.code })
      tx:rollback()
      assert.is_true(lease:held())
    end)

    it("is not done by the collector", function()
      local store = open()
      assert(store:lease("n", { ttl = 10 }))
      collectgarbage()
      collectgarbage()
      support.refused("lease_held", store:lease("n", { ttl = 10 }))
    end)
  end)

  describe("The plain operations on leases", function()
    it("do the same", function()
      local clock = support.clock()
      local store = open { clock = clock.read, monotonic = clock.read, owner = "me" }
      assert.same({}, { store:get_lease "n" })
      local grant = assert(store:acquire_lease("n", { ttl = 10 }))
      assert.same({
        name = "n", token = 1, session_id = store:session_id(), owner = "me", held = true,
        expires_at = "2026-01-01T00:00:10+00:00",
      }, grant)
      assert.same(grant, store:get_lease "n")
      assert.equal("2026-01-01T00:00:20+00:00", store:renew_lease("n", 1, 20))
      assert.equal("me", support.refused("lease_held", store:acquire_lease("n", { ttl = 10 })).owner)
      assert.is_true(store:release_lease("n", 1))
      grant.held, grant.expires_at = false, nil
      assert.same(grant, store:get_lease "n")
      support.refused("stale_owner", store:renew_lease("n", 1, 20))
      support.refused("stale_owner", store:release_lease("n", 1))
    end)

    it("are part of a transaction", function()
      local store = open()
      local tx = assert(store:begin())
      assert.equal(1, assert(tx:acquire_lease("n", { ttl = 10 })).token)
      assert.is_true(tx:get_lease("n").held)
      support.refused("busy", store:lease("m", { ttl = 10 }))
      support.refused("busy", store:get_lease "n")
      tx:rollback()
      assert.is_nil(store:get_lease "n")
      assert.is_true(store:transaction(function(inner)
        assert(inner:acquire_lease("n", { ttl = 10 }))
        support.refused("lease_held", inner:acquire_lease("n", { ttl = 10 }))
        return inner:put("r", { thread_id = "t" })
      end))
      assert.is_true(store:get_lease("n").held)
      support.raises("the transaction is over", tx.get_lease, tx, "n")
    end)
  end)

  describe("invalid_request for", function()
    local function refused(store, field, name, options)
      support.invalid(field, store:lease(name, options))
      support.invalid(field, store:acquire_lease(name, options))
      assert.is_true(name == "" or #name > 256 or not store:get_lease "n")
    end

    it("a ttl that is none", function()
      local store = open()
      for _, ttl in ipairs { 0, -1, 0.0, -0.5, 1e-9, 0 / 0, math.huge, -math.huge, math.mininteger } do
        refused(store, "ttl", "n", { ttl = ttl })
      end
      refused(store, "ttl", "n", {})
      refused(store, "ttl", "n", nil)
      local lease = assert(store:lease("n", { ttl = 10 }))
      for _, ttl in ipairs { 0, -1, 0 / 0, math.huge } do support.invalid("ttl", lease:renew(ttl)) end
      support.invalid("ttl", lease:renew())
      support.invalid("ttl", store:renew_lease("n", 1))
      assert.equal(lease.expires_at, store:get_lease("n").expires_at)
    end)

    it("a name or an owner that is none", function()
      local store = open()
      for _, bad in ipairs { "", ("x"):rep(257), "a\nb", "a\0b", "\xff" } do
        refused(store, "name", bad, { ttl = 1 })
        refused(store, "owner", "n", { ttl = 1, owner = bad })
        support.invalid("name", store:get_lease(bad))
        support.invalid("name", store:renew_lease(bad, 1, 1))
        support.invalid("name", store:release_lease(bad, 1))
      end
    end)

    it("nothing at the limit", function()
      local long = ("x"):rep(256)
      local store = open()
      local lease = assert(store:lease(long, { ttl = 1e-6, owner = long }))
      assert.same({ long, long }, { lease.name, lease.owner })
    end)
  end)

  describe("Misuse of leases raises for", function()
    it("wrong types and unknown options, naming them", function()
      local store = open()
      for _, name in ipairs { 5, true, {} } do
        support.raises("#1 to 'lease'", store.lease, store, name, { ttl = 1 })
        support.raises("name", store.acquire_lease, store, name, { ttl = 1 })
        support.raises("name", store.get_lease, store, name)
      end
      support.raises("#1 to 'lease'", store.lease, store)
      support.raises("#2 to 'lease'", store.lease, store, "n", 5)
      support.raises("ttl", store.lease, store, "n", { ttl = "5" })
      support.raises("ttl", store.acquire_lease, store, "n", { ttl = "5" })
      support.raises("owner", store.lease, store, "n", { ttl = 1, owner = 5 })
      support.raises("unknown option 'tll'", store.lease, store, "n", { tll = 1 })
      support.raises("unknown option 'tll'", store.acquire_lease, store, "n", { tll = 1 })
      support.raises("token", store.renew_lease, store, "n", "1", 1)
      support.raises("whole number", store.renew_lease, store, "n", 1.5, 1)
      support.raises("ttl", store.renew_lease, store, "n", 1, "1")
      support.raises("token", store.release_lease, store, "n")
      local lease = assert(store:lease("n", { ttl = 1 }))
      support.raises("#1 to 'renew'", lease.renew, lease, "1")
    end)

    it("a closed store", function()
      local store = open()
      local lease = assert(store:lease("n", { ttl = 10 }))
      store:close()
      support.raises("the store is closed", store.lease, store, "n", { ttl = 1 })
      support.raises("the store is closed", lease.renew, lease, 1)
      support.raises("the store is closed", lease.release, lease)
      support.raises("the store is closed", lease.held, lease)
    end)
  end)
end)

describe("Leases of a file", function()
  after_each(support.clean_up)

  it("OWN-14: have one holder among handles; release and closing free at once", function()
    local path = support.path()
    local one, two = support.open(path, { owner = "one" }), support.open(path)
    local lease = assert(one:lease("n", { ttl = 3600 }))
    assert.equal("one", support.refused("lease_held", two:lease("n", { ttl = 1 })).owner)
    support.refused("stale_owner", two:renew_lease("n", lease.token, 1))
    support.refused("stale_owner", two:release_lease("n", lease.token))
    assert(lease:release())
    assert.equal(2, assert(two:lease("n", { ttl = 3600 })).token)
    two:close()
    assert.equal(3, assert(one:lease("n", { ttl = 3600 })).token)
  end)

  it("OWN-14: keep counting after the store was closed and opened again", function()
    local path = support.path()
    for token = 1, 5 do
      local store = support.open(path)
      local lease = assert(store:lease("n", { ttl = 3600 }))
      assert.equal(token, lease.token)
      if token % 2 == 0 then assert(lease:release()) end
      store:close()
    end
  end)

  it("OWN-14: of a process killed with kill -9 are free at once", function()
    local path = support.path()
    local store = support.open(path)
    local child = support.spawn(HOLDER, { path })
    ask(child, "lease", 1)
    ask(child, "held", true)
    support.refused("lease_held", store:lease("n", { ttl = 1 }))
    child:kill()
    assert.is_false(store:get_lease("n").held)
    assert.equal(2, assert(store:lease("n", { ttl = 1 })).token)
  end)

  it("OWN-14: have one holder among processes, and a stale one is refused", function()
    local path = support.path()
    local one, two = support.spawn(HOLDER, { path }), support.spawn(HOLDER, { path })
    ask(one, "lease", 1)
    ask(two, "lease", "lease_held")
    ask(one, "renew", true)
    ask(one, "release", true)
    ask(two, "lease", 2)
    ask(one, "renew", "stale_owner")
    ask(one, "release", "stale_owner")
    ask(two, "close", "closed")
    ask(one, "lease", 3)
  end)

  it("OWN-14: are free when a dead holder's session was tidied away", function()
    local path = support.path()
    local child = support.spawn(HOLDER, { path })
    ask(child, "lease", 1)
    child:kill()
    local store = support.open(path)
    assert(store:put("r", { thread_id = "t" })) -- makes a session, and tidies
    assert.equal(1, #assert(store:sessions()))
    assert.is_false(store:get_lease("n").held)
    assert.equal(2, assert(store:lease("n", { ttl = 1 })).token)
  end)

  it("can be looked at in a read-only store, and not changed", function()
    local path = support.path()
    local store = support.open(path)
    local lease = assert(store:lease("n", { ttl = 3600 }))
    local reader = support.open(path, { readonly = true })
    assert.is_true(reader:get_lease("n").held)
    support.refused("store_readonly", reader:lease("m", { ttl = 1 }))
    support.refused("store_readonly", reader:renew_lease("n", 1, 1))
    support.refused("store_readonly", reader:release_lease("n", 1))
    assert.is_true(lease:held())
  end)

  it("wait for another writer, and say busy when it takes too long", function()
    local path = support.path()
    local store = support.open(path, { lock_timeout = 0.01 })
    local lease = assert(store:lease("n", { ttl = 3600 }))
    local tx <close> = assert(support.open(path):begin())
    for _, err in ipairs {
      support.refused("busy", store:lease("m", { ttl = 1 })),
      support.refused("busy", lease:renew(1)),
      support.refused("busy", lease:release()),
    } do assert.is_true(err.transient) end
    assert.is_true(lease:held())
    tx:rollback()
    assert.is_true(lease:renew(1))
  end)

  it("need nothing but the store: the sound store stays sound", function()
    local path = support.path()
    local store = assert(keel.open(path))
    assert(store:lease("n", { ttl = 1 }))
    store:close()
    assert.same({}, assert(support.open(path):verify()))
  end)
end)
