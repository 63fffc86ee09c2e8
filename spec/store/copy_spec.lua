--- Copies of a store in another place, of the same kind or another: everything that was there, as a store of its own.
local full = require "support.full"
local keel = require "keel"
local lfs = require "lfs"
local process = require "support.process"
local support = require "support"

local server = os.getenv "KEEL_TEST_POSTGRES"
local places = { sqlite = support.path, postgres = support.server_uri }

-- Every way there is: from, to.
local function each_way(body)
  for _, from in ipairs { "sqlite", "postgres" } do
    for _, to in ipairs { "sqlite", "postgres" } do
      if server or (from == "sqlite" and to == "sqlite") then
        describe(("from [#%s] to %s"):format(from, to), function()
          after_each(support.clean_up)
          body(places[from], places[to], to)
        end)
      end
    end
  end
end

local function names_in(folder)
  local names = {}
  for name in lfs.dir(folder) do
    if name ~= "." and name ~= ".." then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

describe("A copy of a store", function()
  each_way(function(from, to, kind)
    it("has every row of every table but the sessions, and is sound", function()
      local first, last = support.path(), support.path()
      local store <close> = support.open(first)
      full.fill(store)
      local source = from()
      if from ~= support.path then
        assert(store:copy(source, { anyway = true }))
      else
        source = first
      end
      local target = to()
      assert.is_true(assert(keel.open(source, { readonly = true }):copy(target, { anyway = true })))
      assert(support.open(target, { readonly = true }):copy(last, { anyway = true }))
      assert.same({ "keel.db" }, names_in(last:match "^(.*)/"))
      local wanted, found = full.rows(first), full.rows(last)
      for name, rows in pairs(wanted) do
        assert.not_equal("", rows, name .. " is empty: have support.full fill it")
        assert.equal(rows, found[name], name)
      end
      assert.same(support.sorted_keys(wanted), support.sorted_keys(found))
      assert.same({}, support.open(target):verify())
    end)

    it("is a store of its own, whose keys go on behind those of the original", function()
      local store = support.open(from())
      local runtime = keel.runtime { store = store, runtime_id = "rt" }
      assert(runtime:create_worker())
      assert(store:transaction(function(tx)
        for i = 1, 600 do assert(tx:put("r" .. i, { thread_id = "t", status = "success" })) end
      end))
      local high, session = store:event_high_water(), store:session_id()
      local target = to()
      assert(store:copy(target))
      local copy = support.open(target)
      assert.not_equal(store:epoch(), copy:epoch())
      assert.same({}, copy:sessions())
      support.refused("wrong_runtime", copy:read_events { next_event_id = 1, epoch = store:epoch() })
      assert.is_true(copy:session_id() > session)
      assert(copy:put("new", { thread_id = "t" }))
      assert.equal(high + 1, copy:event_high_water())
      assert(copy:put("line", { thread_id = "t", claimable = true, concurrency = 1 }))
      assert(keel.runtime { store = copy, runtime_id = "rt" }:create_worker())
      assert(keel.runtime { store = copy, runtime_id = "another" })
      assert.same({}, copy:verify())
      assert.equal(602, copy:stats().runs)
    end)

    it("is refused while something is in flight; told to go on, it has orphans where somebody was at work", function()
      local store = support.open(from())
      local runs = support.manager(store)
      local owned = assert(runs:create "t")
      assert(runs:try_start(owned.run_id))
      assert(store:put("anybody's", { thread_id = "u", claimable = true }))
      local target = to()
      local err = support.refused("conflict", store:copy(target))
      assert.is_truthy(err.message:find("2 runs are in flight", 1, true))
      support.refused("store_missing", keel.open(target, { create = false }))
      assert(store:copy(target, { anyway = true }))
      local copy = support.open(target)
      assert.is_false(copy:session_alive(store:session_id()))
      local found = support.manager(copy):reconcile_orphaned_inflight_runs { error = "lost" }
      assert.same({ owned.run_id }, support.pluck(assert(found), "run_id"))
      assert.equal("anybody's", copy:claim_next().run_id)
      assert.equal("running", store:get(owned.run_id).status)
      assert(runs:update_run_completion(owned.run_id, { status = "success" }))
    end)

    it("is made in no place that is taken, and is in none when its process is killed", function()
      local source, target = from(), to()
      local store = support.open(source)
      support.open(target)
      support.invalid("path", store:copy(target))
      assert(store:transaction(function(tx)
        for i = 1, 3000 do assert(tx:append_event { kind = "note", data = { number = i, text = ("x"):rep(500) } }) end
      end))
      local fresh = to()
      local child = support.spawn([[
        local store = assert(keel.open((...)))
        store:watch(function(done, total)
          if done > 0 and done < total then
            say "half"
            hear()
          end
        end)
        store:copy((select(2, ...)))
      ]], { source, fresh })
      child:expect "half"
      child:kill()
      -- A schema may be left; what makes a store of it is not in it.
      support.refused(kind == "sqlite" and "store_missing" or "store_corrupt",
        keel.open(fresh, { create = false, readonly = true }))
      assert.is_true(process.poll_until(function() return (store:copy(fresh)) end))
      assert.same({}, support.open(fresh):verify())
    end)
  end)

  it("is refused in a transaction, in memory, and where nothing can be made", function()
    finally(support.clean_up)
    local store = support.open(":memory:")
    support.invalid("path", store:copy "")
    support.invalid("path", store:copy ":memory:")
    support.invalid("path", store:copy "a\0b")
    support.invalid("uri", store:copy "mysql://here/there")
    support.refused("store_missing", store:copy "/no/such/directory/keel.db")
    support.raises("path", store.copy, store, 5)
    support.raises("anyhow", store.copy, store, "x", { anyhow = true })
    local free = support.path()
    local tx <close> = assert(store:begin())
    support.refused("busy", store:copy(free))
    support.refused("busy", tx:copy(free))
  end)
end)
