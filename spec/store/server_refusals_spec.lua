--- What a uri of a server may be wrong about: each gets its code, a message with host, database and schema and never a
--- user or password, within connect_timeout; and nothing is written.
local keel = require "keel"
local process = require "support.process"
local servers = require "support.servers"
local support = require "support"

local given = os.getenv "KEEL_TEST_POSTGRES"

local function psql(uri, sql)
  local pipe <close> = assert(io.popen(("psql --quiet --tuples-only --no-align --command=%q %q 2>&1"):format(sql,
    (uri:gsub("[&?]schema=[%w_]+", "")))))
  return (assert(pipe:read "a"):gsub("%s+$", ""))
end

local function has(program) return os.execute("command -v " .. program .. " >/dev/null 2>&1") end

describe("A store on a server is refused", function()
  if not given then return pending "KEEL_TEST_POSTGRES names no server" end
  local uri, schema, host, name
  local dropped = {} -- what is to be dropped after the test
  before_each(function()
    uri = support.server_uri()
    schema, host = uri:match "schema=([%w_]+)", given:match "host=([^&]+)"
    name = "k" .. schema:gsub("spec_", ""):sub(1, 20)
  end)
  after_each(function()
    servers.clean_up()
    for i = #dropped, 1, -1 do
      psql(given, dropped[i])
      dropped[i] = nil
    end
  end)

  -- Opening fails with the code, in time, and says nothing that is not to be read.
  local function refused(code, bad_uri, options, limit)
    local started = os.time()
    local opened, err = keel.open(bad_uri, options)
    assert.is_nil(opened)
    assert.equal(code, err.code, err.message)
    assert.is_true(os.time() - started <= (limit or 5), "it took too long")
    assert.matches("^postgresql://[^@ ]*%?schema=[%w_]+: ", err.message)
    for _, secret in ipairs { "secret", "somebody" } do
      assert.is_nil(err.message:find(secret, 1, true), err.message)
    end
    return err
  end

  it("when there is no such host, socket or port", function()
    assert.is_true(refused("io", "postgresql://somebody:secret@127.0.0.1:1/db").transient)
    refused("io", "postgresql://somebody:secret@/db?host=" .. support.dir())
    refused("io", "postgresql://somebody:secret@no-such-host.invalid/db?connect_timeout=3", nil, 9)
  end)

  it("when nobody answers, after connect_timeout", function()
    local place = support.dir()
    local listener = require("luv").new_pipe() -- it takes connections and says nothing
    assert(listener:bind(place .. "/.s.PGSQL.5432"))
    assert(listener:listen(8, function() end))
    local err = refused("io", "postgresql://somebody:secret@/db?connect_timeout=2&host=" .. place, nil, 6)
    assert.is_true(err.transient)
    listener:close()
  end)

  it("when there is no such database or user", function()
    assert.is_false(refused("io", ("postgresql://somebody:secret@/nowhere?host=%s"):format(host)).transient)
    assert.is_false(refused("io", ("postgresql://keel:secret@/nowhere?host=%s"):format(host)).transient)
  end)

  it("when the schema is not one, and there is none to read", function()
    local opened, err = keel.open(given .. "&schema=Has%20space")
    assert.is_nil(opened)
    assert.equal("invalid_request", err.code)
    refused("store_missing", uri, { create = false })
    refused("store_missing", uri, { readonly = true })
    assert.equal("0", psql(given, ("SELECT count(*) FROM pg_namespace WHERE nspname = '%s'"):format(schema)))
  end)

  it("when it was made by a later version", function()
    support.open(uri):close()
    psql(given, ("UPDATE %s.schema_version SET version = version + 1000"):format(schema))
    refused("store_version", uri)
    refused("store_version", uri, { readonly = true })
  end)

  it("when a table of it is gone", function()
    support.open(uri):close()
    psql(given, ("DROP TABLE %s.leases"):format(schema))
    refused("store_corrupt", uri)
    assert.equal("0", psql(given, ("SELECT count(*) FROM pg_class WHERE relname = 'leases' AND relnamespace = "
      .. "'%s'::regnamespace"):format(schema)))
  end)

  it("when the database has another encoding", function()
    dropped[1] = "DROP DATABASE " .. name
    assert.equal("", psql(given, ("CREATE DATABASE %s ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"):format(name)))
    local bad = uri:gsub("///postgres", "///" .. name)
    local err = refused("io", bad)
    assert.matches("LATIN1", err.message)
    assert.equal("0", psql(bad, ("SELECT count(*) FROM pg_namespace WHERE nspname = '%s'"):format(schema)))
  end)

  it("when the role may not use it, naming what and who; and it needs no more than that", function()
    dropped[1] = "DROP ROLE " .. name
    dropped[2] = "DROP OWNED BY " .. name
    psql(given, ("CREATE ROLE %s LOGIN"):format(name))
    local mine = uri:gsub("user=keel", "user=" .. name)
    assert.matches("permission denied for database postgres", refused("io", mine).message, 1, true)
    support.open(uri):close()
    assert.matches("USAGE", refused("io", mine).message, 1, true)
    psql(given, ("GRANT USAGE ON SCHEMA %s TO %s"):format(schema, name))
    assert.matches("permission denied for table [%w_]+", refused("io", mine).message)
    psql(given, ("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %s TO %s; GRANT USAGE, SELECT ON ALL "
      .. "SEQUENCES IN SCHEMA %s TO %s"):format(schema, name, schema, name))
    local store = support.open(mine)
    local runs = support.manager(store)
    local run = assert(runs:create_or_reject "t")
    assert.equal("started", runs:try_start(run.run_id))
    assert(runs:update_run_completion(run.run_id, { status = "success" }))
    assert(store:acquire_lease("n", { ttl = 60 }))
    local cursor = assert(store:read_events(nil, 1000)).cursor
    assert.is_false(store:wait_events(cursor, { timeout = 0 }))
    assert(store:open_runtime "r")
    assert(store:prune_step { before = "2000-01-01T00:00:00Z" })
    assert(runs:reconcile_orphaned_inflight_runs { error = "lost" })
    assert.same({}, store:verify())
    assert(store:stats())
    psql(given, ("REVOKE INSERT ON %s.runs FROM %s"):format(schema, name))
    local done, err = runs:create_or_reject "u"
    assert.is_nil(done)
    assert.equal("io", err.code)
    assert.matches("permission denied for table runs", err.message, 1, true)
    assert.is_true(err.message:find(name, 1, true) ~= nil, err.message)
  end)

  it("on a standby, unless it is only read: there nobody is judged", function()
    local store = support.open(uri)
    assert(store:put("r", { thread_id = "t" }))
    local standby = servers.standby(host) .. "&schema=" .. schema
    assert.matches("standby", refused("store_readonly", standby).message, 1, true)
    local reader = support.open(standby, { readonly = true })
    assert.is_true(process.poll_until(function() return reader:get "r" ~= nil end))
    assert.is_true(#assert(reader:read_events(nil, 10)).events > 0)
    assert.is_true(reader:session_alive(store:session_id()))
    support.refused("store_readonly", reader:put("s", { thread_id = "t" }))
  end)

  it("through a pooler that gives a connection to several", function()
    if not has "pgbouncer" then return pending "pgbouncer is not installed" end
    local place = support.dir()
    assert(os.execute("chmod 777 " .. place))
    local ini <close> = assert(io.open(place .. "/pgbouncer.ini", "w"))
    ini:write(("[databases]\npostgres = host=%s dbname=postgres user=keel\n[pgbouncer]\nlisten_addr =\n"
      .. "listen_port = 5432\nunix_socket_dir = %s\nauth_type = any\npool_mode = session\nuser = nobody\n"
      .. "logfile = %s/log\n"
      .. "ignore_startup_parameters = extra_float_digits\n"):format(host, place, place))
    ini:flush()
    process.start { "pgbouncer", "--quiet", place .. "/pgbouncer.ini" }
    local pooled = uri:gsub("host=[^&]+", "host=" .. place)
    assert.is_true(process.poll_until(function()
      local _, err = keel.open(pooled)
      return not err.transient
    end))
    assert.matches("pooler", refused("io", pooled).message, 1, true)
  end)
end)
