local keel = require "keel"
local lfs = require "lfs"
local files = require "support.files"
local support = require "support"

describe("keel.open", function()
  after_each(support.clean_up)

  it("creates the file, for its owner alone #files", function()
    local path = support.path()
    local store = support.open(path)
    assert(store:put("r", { thread_id = "t" }))
    for name in lfs.dir(path:match "^(.*)/") do
      if name:find "^keel" then
        assert.equal("rw-------", lfs.attributes(path:match "^(.*)/" .. "/" .. name, "permissions"), name)
      end
    end
  end)

  it("creates nothing when create is false, and opens what is there", function()
    local path = support.path()
    support.refused("store_missing", keel.open(path, { create = false }))
    assert.is_nil(lfs.attributes(path))
    support.open(path):close()
    assert.is_true(support.open(path, { create = false }):close() ~= false)
  end)

  it("never creates a directory", function()
    local path = support.dir() .. "/missing/keel.db"
    local err = support.refused("store_missing", keel.open(path))
    assert.truthy(err.message:find(path, 1, true))
    assert.is_nil(lfs.attributes(path:match "^(.*)/"))
  end)

  it("keeps what was written for the next opening", function()
    local path = support.path()
    local store = support.open(path)
    assert(store:put("r", { thread_id = "t", metadata = { a = 1 } }))
    store:close()
    assert.same({ a = 1 }, assert(support.open(path):get "r").metadata)
  end)

  it("gives each :memory: store a life of its own", function()
    local one, two = support.open ":memory:", support.open ":memory:"
    assert(one:put("r", { thread_id = "t" }))
    assert.is_nil(two:get "r")
  end)

  it("accepts every durability and no other", function()
    for _, durability in ipairs { "full", "normal", "off" } do
      assert(support.open(support.path(), { durability = durability }):put("r", { thread_id = "t" }))
    end
    local ok, store = pcall(keel.open, ":memory:", { durability = "fast" })
    assert.is_true(not ok or store == nil)
  end)

  it("refuses an empty uri and an unknown scheme", function()
    support.refused("invalid_request", keel.open "")
    support.refused("invalid_request", keel.open "mysql://localhost/keel")
  end)

  it("writes nothing as long as nobody writes through the handle #files", function()
    local path = support.path()
    support.open(path):close()
    local before = files.read(path)
    local store = support.open(path)
    assert.is_nil(store:get "r")
    assert.same({}, store:list_by_thread "t")
    assert.same({}, store:verify())
    assert.same({}, assert(store:read_events()).events)
    assert.same({}, store:sessions())
    store:close()
    assert.equal(before, files.read(path))
  end)

  it("readonly reads, refuses every write, and has no session", function()
    local path = support.path()
    local writer = support.open(path)
    assert(writer:put("r", { thread_id = "t" }))
    local store = support.open(path, { readonly = true })
    assert.equal("t", assert(store:get "r").thread_id)
    assert.is_nil((store:session_id()))
    assert.is_true(store:session_alive(assert(writer:session_id())))
    support.refused("store_readonly", store:put("s", { thread_id = "t" }))
    support.refused("store_readonly", store:update_status("r", "running"))
    support.refused("store_readonly", store:append_event { kind = "note" })
    support.refused("store_readonly", store:begin())
    assert.equal(1, #support.events(writer))
  end)

  it("readonly creates nothing", function()
    local path = support.path()
    support.refused("store_missing", keel.open(path, { readonly = true }))
    assert.is_nil(lfs.attributes(path))
  end)

  it("shows the owner's name among the sessions", function()
    local store = support.open(":memory:", { owner = "the night shift" })
    assert(store:put("r", { thread_id = "t" }))
    assert.equal("the night shift", assert(store:sessions())[1].owner)
  end)
end)
