--- What only a store on a PostgreSQL server has: connections that are lost, servers that start again, machines apart.
local keel = require "keel"
local process = require "support.process"
local servers = require "support.servers"
local support = require "support"

local given = os.getenv "KEEL_TEST_POSTGRES"

-- Runs SQL on a server, as its administrator would.
local function psql(uri, sql)
  local pipe <close> = assert(io.popen(("psql --quiet --tuples-only --no-align --command=%q %q"):format(sql,
    (uri:gsub("&schema=[%w_]+", "")))))
  return (assert(pipe:read "a"):gsub("%s+$", ""))
end

-- Ends the server's process for the connection that has a session.
local function cut(uri, session)
  local ended = psql(uri, ("SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND "
    .. "classid = (SELECT oid FROM pg_namespace WHERE nspname = '%s') AND objid = %d AND objsubid = 2"):format(
    uri:match "schema=([%w_]+)", session))
  assert.equal("1", ended)
end

-- Since when the connection of that name has waited for a lock: "none" without a transaction, "no lock" without a wait.
local function asking_since(uri, name)
  return psql(uri, ("SELECT CASE WHEN xact_start IS NULL THEN 'none' WHEN wait_event_type = 'Lock' THEN "
    .. "xact_start::text ELSE 'no lock' END FROM pg_stat_activity WHERE application_name = '%s'"):format(name))
end

-- Tries again while the store is busy, as a host does.
local function again(fn, ...)
  for _ = 1, 100 do
    local result, err = fn(...)
    if result ~= nil or not (type(err) == "table" and err.transient) then return result, err end
  end
  return fn(...)
end

describe("A store on a server", function()
  if not given then return pending "KEEL_TEST_POSTGRES names no server" end
  local uri, store
  before_each(function()
    uri = support.server_uri()
    store = support.open(uri)
  end)
  after_each(support.clean_up)

  it("says where it is without user and password", function()
    assert.equal("postgres", store:backend())
    assert.is_truthy(store:path():find "^postgresql://[^@]*%?schema=spec_")
    assert.is_nil(store:path():find("user", 1, true))
  end)

  it("is one for all handles and processes", function()
    local child = support.spawn([[
      local store = assert(keel.open((...)))
      assert(store:put("theirs", { thread_id = "t" }))
      say "done"
      hear()
    ]], { uri })
    child:expect "done"
    assert.equal("t", store:get("theirs").thread_id)
  end)

  it("wakes who waits for events, in another process", function()
    local child = support.spawn([[
      local store = assert(keel.open((...)))
      local cursor = assert(store:read_events()).cursor
      say "waits"
      say(tostring(assert(store:wait_events(cursor, { timeout = 20 }))))
    ]], { uri })
    child:expect "waits"
    assert(store:put("r", { thread_id = "t" }))
    child:expect "true"
  end)

  it("has the server tell whoever listens of a commit with events, and nobody when nobody does", function()
    local schema, base = uri:match "schema=([%w_]+)", uri:gsub("&schema=[%w_]+", "")
    local script = support.dir() .. "/script"
    local function told(lock)
      local file <close> = assert(io.open(script, "w"))
      file:write(("SET search_path = %s;\n%s"):format(schema, lock),
        "SELECT 'LISTEN keel_' || current_schema()::regnamespace::oid::bigint \\gexec\n",
        ("\\! psql --quiet --command=\"SET search_path = %s; INSERT INTO events (kind, at) VALUES ('note', 1)\" '%s'\n")
          :format(schema, base), "SELECT 1;\n")
      file:close()
      local pipe <close> = assert(io.popen(("psql --quiet --file=%s '%s' 2>&1"):format(script, base)))
      return assert(pipe:read "a"):find("Asynchronous notification \"keel_", 1, true) ~= nil
    end
    assert.is_false(told "")
    assert.is_true(told "SELECT pg_advisory_lock_shared(current_schema()::regnamespace::oid::bigint << 32 | 1);\n")
  end)

  it("tells of the first of events that come close on each other", function()
    local schema, base = uri:match "schema=([%w_]+)", uri:gsub("&schema=[%w_]+", "")
    local script = support.dir() .. "/script"
    local insert = ("INSERT INTO %s.events (kind, at) VALUES ('note', 1)"):format(schema)
    -- Two transactions, the second so many milliseconds after the first. How often was told, and how long was between.
    local function told(apart)
      local file <close> = assert(io.open(script, "w"))
      file:write(("SET search_path = %s;\n"):format(schema),
        "SELECT pg_advisory_lock_shared(current_schema()::regnamespace::oid::bigint << 32 | 1);\n",
        "SELECT 'LISTEN keel_' || current_schema()::regnamespace::oid::bigint \\gexec\n",
        ("\\! psql --quiet -c 'SELECT pg_sleep(0.05)' -c \"SET search_path = %s\" -c \"%s\" "
          .. "-c 'SELECT pg_sleep(%g)' -c \"%s\" '%s'\n"):format(schema, insert, apart / 1000, insert, base),
        "SELECT 1;\n")
      file:close()
      local pipe <close> = assert(io.popen(("psql --quiet --file=%s '%s' 2>&1"):format(script, base)))
      local _, count = assert(pipe:read "a"):gsub('Asynchronous notification "keel_', "")
      local between = psql(uri, ("SELECT extract(epoch FROM max(written_at) - min(written_at)) * 1000 FROM (SELECT "
        .. "written_at FROM %s.events ORDER BY id DESC LIMIT 2) last"):format(schema))
      return count, tonumber(between)
    end
    local count, apart
    repeat count, apart = told(0) until apart < 20 -- or the machine had other things to do
    assert.equal(1, count)
    assert.equal(2, told(25))
  end)

  it("PG-2: what only waits keeps what it owns when its connection was cut", function()
    local waiter <close> = assert(store:event_waiter())
    local runs = support.manager(store)
    local run = assert(runs:create_or_reject "t")
    assert.equal("started", runs:try_start(run.run_id))
    for _, look in ipairs { function() return waiter:look(assert(store:read_events()).cursor) end,
      function() return store:wait_events(assert(store:read_events()).cursor, { timeout = 0 }) end } do
      local before = store:get(run.run_id).session_id
      cut(uri, before)
      process.poll_until(function()
        pcall(look)
        return support.open(uri):get(run.run_id).session_id ~= before
      end, 5000)
      assert.not_equal(before, support.open(uri):get(run.run_id).session_id)
      assert.is_true(store:session_alive(store:session_id()))
    end
    assert.equal("running", store:get(run.run_id).status)
  end)

  it("PG-2: goes on after its connection was cut: what it owns stays its own, under a new session", function()
    local runs = support.manager(store)
    local run = assert(runs:create_or_reject "t")
    assert.equal("started", runs:try_start(run.run_id))
    local lease = assert(store:acquire_lease("n", { ttl = 60 }))
    local before = store:session_id()
    cut(uri, before)
    local _, err = store:append_event { kind = "note" }
    if err then
      assert.equal("busy", err.code)
      assert.is_true(err.transient)
    end
    assert(again(store.append_event, store, { kind = "note" }))
    local now = store:session_id()
    assert.not_equal(before, now)
    assert.equal(now, store:get(run.run_id).session_id)
    assert.is_false(store:session_alive(before))
    assert(again(store.renew_lease, store, "n", lease.token, 60))
    assert.same({}, assert(runs:heartbeat()).lost)
    assert.same({}, support.open(uri):list_inflight { overdue = true })
    assert(runs:update_run_completion(run.run_id, { status = "success" }))
    assert.equal("success", store:get(run.run_id).status)
    assert.same({}, store:verify())
  end)

  it("PG-2: refuses a write to what was taken over while its connection was gone", function()
    local runs, rivals = support.manager(store), support.manager(support.open(uri))
    local run = assert(runs:create_or_reject "t")
    assert.equal("started", runs:try_start(run.run_id))
    cut(uri, store:session_id())
    assert.equal(1, #assert(rivals:reconcile_orphaned_inflight_runs { error = "lost" }))
    local done, err = again(runs.update_run_completion, runs, run.run_id, { status = "success" })
    assert.is_falsy(done)
    assert.equal("stale_owner", err.code)
    assert.equal("error", store:get(run.run_id).status)
  end)

  it("undoes a transaction whose connection was cut, and commits nothing of it", function()
    local session = store:session_id()
    local tx = assert(store:begin())
    assert(tx:put("r", { thread_id = "t" }))
    cut(uri, session)
    local done, err = tx:put("s", { thread_id = "t" })
    assert.is_nil(done)
    assert.equal("busy", err.code)
    done, err = tx:commit()
    assert.is_falsy(done)
    assert.is_true(err.code == "busy" or err.code == "io")
    assert.is_nil(again(store.get, store, "r"))
    assert(again(store.put, store, "u", { thread_id = "t" }))
    assert.same({}, store:verify())
  end)

  it("PG-2: takes over what a killed process had, and no sooner", function()
    local child = support.spawn([[
      local store = assert(keel.open((...)))
      local runs = keel.run_manager { store = store }
      local run = assert(runs:create_or_reject "t")
      assert(runs:try_start(run.run_id))
      say(run.run_id)
      hear()
    ]], { uri })
    local id = child:hear()
    local runs = support.manager(store)
    assert.equal(0, #assert(runs:reconcile_orphaned_inflight_runs { error = "lost" }))
    child:kill()
    assert.is_true(process.poll_until(function()
      return not store:session_alive(store:get(id).session_id)
    end))
    assert.equal(1, #assert(runs:reconcile_orphaned_inflight_runs { error = "lost" }))
    assert.equal("error", store:get(id).status)
  end)

  it("lets eight processes make it at once", function()
    local fresh, children = support.server_uri(), {}
    for i = 1, 8 do
      children[i] = support.spawn([[
        hear()
        local store = assert(keel.open((...)))
        assert(store:put("r" .. select(2, ...), { thread_id = "t" }))
        say(store:epoch())
      ]], { fresh, i })
    end
    for i = 1, 8 do children[i]:say "go" end
    local epoch = children[1]:hear()
    for i = 2, 8 do assert.equal(epoch, children[i]:hear()) end
    local made = support.open(fresh)
    assert.equal(8, #made:list_by_thread "t")
    assert.same({}, made:verify())
  end)

  it("refuses a schema that is another application's, and one that was changed", function()
    local schema = uri:match "schema=([%w_]+)"
    psql(uri, ("CREATE SCHEMA other_%s; CREATE TABLE other_%s.things (a int)"):format(schema, schema))
    local opened, err = keel.open((uri:gsub(schema, "other_" .. schema)))
    assert.is_nil(opened)
    assert.equal("store_corrupt", err.code)
    assert.is_truthy(err.message:find("another application", 1, true))
    psql(uri, ("ALTER TABLE %s.runs ADD COLUMN mine int"):format(schema))
    opened, err = keel.open(uri)
    assert.is_nil(opened)
    assert.equal("store_corrupt", err.code)
    assert.is_truthy(err.message:find("have been changed", 1, true))
  end)

  -- A try that asks anew goes to the end of the server's queue: among many it would never come to its head.
  local far = { slots = { { name = "gpu", max = 2 } } }
  for name, case in pairs {
    ["a claim"] = { act = function(other) return other:claim_next() end, held = nil },
    ["the end of a run that others wait behind"] = {
      act = function(other) return other:update_status("far", "success") end,
      held = { thread_id = "elsewhere" }, -- so that it has its own thread first, and wants the whole store then
    },
  } do
    it("keeps its place in the server's queue while " .. name .. " is tried again", function()
      local tx, seen = nil, {}
      local clock, sleeps = support.clock(), 0
      local other = support.open(uri .. "&application_name=asker", {
        clock = clock.read, lock_timeout = 60,
        sleep = function()
          clock.advance(0.001)
          sleeps = sleeps + 1
          local since = asking_since(uri, "asker")
          seen[since] = (seen[since] or 0) + 1
          if seen[since] == 4 or sleeps == 12 then assert(tx and tx:commit()) end
        end,
      })
      assert(other:put("far", { thread_id = "t", session_id = other:session_id(), slots = far.slots }))
      assert.is_nil(other:claim_next()) -- the next one looks before it takes a lock
      assert(other:put("next", { thread_id = "u", claimable = true }))
      tx = assert(store:begin(case.held))
      assert(case.act(other))
      assert.is_nil(seen.none) -- it never took its question back
      seen["no lock"] = nil -- the server was slow
      assert.equal(1, #support.sorted_keys(seen))
      assert.same({}, store:verify())
    end)
  end

end)

describe("A server that is started again", function()
  if not given then return pending "KEEL_TEST_POSTGRES names no server" end
  local folder, uri
  before_each(function()
    uri, folder = servers.start()
    uri = uri .. "&schema=again"
  end)
  after_each(servers.clean_up)

  it("has killed nobody: who was there goes on, and nobody's runs are taken meanwhile", function()
    local store, other = support.open(uri), support.open(uri)
    local runs = support.manager(store)
    local run = assert(runs:create_or_reject "t")
    assert.equal("started", runs:try_start(run.run_id))
    local session = store:session_id()
    servers.restart(folder)
    local rivals = support.manager(other)
    assert.is_true(again(other.session_alive, other, session))
    assert.equal(0, #assert(again(rivals.reconcile_orphaned_inflight_runs, rivals, { error = "lost" })))
    assert(again(runs.update_run_completion, runs, run.run_id, { status = "success" }))
    assert.equal("success", store:get(run.run_id).status)
    assert.same({}, store:verify())
  end)
end)
