--- Backups: whole, sound, a store of their own, while others write; and what is refused leaves no file.
local lfs = require "lfs"
local files = require "support.files"
local runtimes = require "support.runtime"
local support = require "support"

describe("A backup [#files]", function()
  after_each(support.clean_up)

  local function names_in(folder)
    local names = {}
    for name in lfs.dir(folder) do
      if name ~= "." and name ~= ".." then names[#names + 1] = name end
    end
    table.sort(names)
    return names
  end

  for _, backend in ipairs { "memory", "sqlite" } do
    it("holds everything there was, and is a store of its own [#" .. backend .. "]", function()
      local store = support.open(backend == "memory" and ":memory:" or support.path())
      local runtime = runtimes.open(store)
      local ref = runtimes.worker(runtime)
      runtimes.say(runtime, ref, "a", "b")
      assert(support.manager(store):create "t")
      local path = support.path()
      assert.is_true(store:backup(path))
      assert.same({ "keel.db" }, names_in(path:match "^(.*)/"))
      assert.equal("rw-------", lfs.attributes(path, "permissions"))
      local before = runtimes.everything(runtime)
      runtimes.say(runtime, ref, "afterwards")

      local copy = support.open(path)
      local copied = runtimes.open(copy)
      local shown = runtimes.everything(copied):gsub('"backend":"sqlite"', '"backend":"' .. backend .. '"')
      assert.equal(before, shown)
      assert.same({}, copy:verify())
      assert.are_not.equal(store:epoch(), copy:epoch())
      assert.same({ "a", "b" }, runtimes.contents(copied, ref))
      runtimes.say(copied, ref, "its own")
      assert.equal(6, copy:event_high_water())
      support.refused("wrong_runtime", copied:read_events(assert(runtime:event_cursor_from_start())))
      support.refused("wrong_runtime", copy:read_events { next_event_id = 1, epoch = store:epoch() })
    end)
  end

  it("can be read without being written", function()
    local store = support.open(support.path())
    assert(store:put("r", { thread_id = "t" }))
    local path = support.path()
    assert(store:backup(path))
    assert.equal("r", support.open(path, { readonly = true }):get("r").run_id)
  end)

  it("has no sessions: what was in flight in it has lost its owner, what is in the original has not", function()
    local store = support.open(support.path())
    local run = assert(support.manager(store):create "t")
    local path = support.path()
    assert(store:backup(path))
    local copy = support.open(path)
    assert.is_false(copy:session_alive(store:session_id()))
    assert.are_not.equal(store:session_id(), copy:session_id())
    assert.equal(run.run_id, support.manager(copy):reconcile_orphaned_inflight_runs()[1].run_id)
    assert.same({}, support.manager(store):reconcile_orphaned_inflight_runs())
    assert.equal("pending", run.status)
  end)

  it("can be made by a handle that only reads, and of a copy", function()
    local path = support.path()
    assert(support.open(path):put("r", { thread_id = "t" }))
    local first, second = support.path(), support.path()
    assert(support.open(path, { readonly = true }):backup(first))
    assert(support.open(first):backup(second))
    assert.equal("r", support.open(second):get("r").run_id)
  end)

  it("is one picture while another process writes", function()
    local path = support.path()
    local store = support.open(path)
    local runtime = runtimes.open(store)
    local ref = runtimes.worker(runtime)
    local child = support.spawn([[
      local path, worker_id = ...
      local runtime = assert(keel.runtime {
        store = assert(keel.open(path, { durability = "off" })), runtime_id = "rt" })
      local ref = { runtime_id = "rt", worker_id = worker_id }
      say "ready"
      for i = 1, 1e9 do
        assert(runtime:send_input(ref, { kind = "user", content = ("x"):rep(2000) }))
        assert(runtime:create_worker())
      end
    ]], { path, ref.worker_id })
    child:expect "ready"
    local last = 0
    for _ = 1, 5 do
      local target = support.path()
      assert(store:backup(target))
      local copy = support.open(target)
      assert.same({}, copy:verify())
      local high = copy:event_high_water()
      assert.is_true(high >= last)
      last = high
    end
    child:kill()
    assert.is_true(last > 2)
  end)

  it("is refused, and leaves no file: a name that is taken, no directory, no name, a transaction", function()
    local path = support.path()
    local store = support.open(path)
    assert(store:put("r", { thread_id = "t" }))
    local target = support.path()
    files.write(target, "precious")
    support.invalid("path", store:backup(target))
    assert.equal("precious", files.read(target))
    support.invalid("path", store:backup(path))
    support.invalid("path", store:backup "")
    support.invalid("path", store:backup ":memory:")
    support.invalid("path", store:backup "a\0b")
    support.refused("store_missing", store:backup "/no/such/directory/keel.db")
    support.refused("store_missing", store:backup(target .. "/keel.db"))
    support.raises("path", store.backup, store, 5)
    local free = support.path()
    local tx <close> = assert(store:begin())
    support.refused("busy", store:backup(free))
    support.refused("busy", tx:backup(free))
    assert.same({}, names_in(free:match "^(.*)/"))
    assert.same({ "keel.db" }, names_in(target:match "^(.*)/"))
  end)
end)
