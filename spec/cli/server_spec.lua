--- The command on a store that is on a PostgreSQL server.
local command = require "support.command"
local lfs = require "lfs"
local process = require "support.process"
local support = require "support"
local uv = require "luv"

local function at(uri)
  return function(...) return command.run({ ... }, { env = { KEEL_STORE = uri } }) end
end

-- Ends the connection that holds a session's lock.
local function cut_connection(uri, session_id)
  local cut = ("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = %d AND "
    .. "objsubid = 2 AND classid = (SELECT oid FROM pg_namespace WHERE nspname = '%s')"):format(session_id,
    uri:match "schema=([%w_]+)")
  local pipe <close> = assert(io.popen(("psql --quiet --tuples-only --command=%q %q"):format(cut,
    (uri:gsub("&schema=[%w_]+", "")))))
  assert.equal("t", pipe:read "a":match "%a+")
end

-- The sockets that a process has open, as a text.
local function sockets_of(pid)
  local list = {}
  for name in lfs.dir(("/proc/%d/fd"):format(pid)) do
    local target = lfs.symlinkattributes(("/proc/%d/fd/%s"):format(pid, name), "target")
    if target and target:find "^socket:" then list[#list + 1] = target end
  end
  table.sort(list)
  return table.concat(list, " ")
end

describe("keel on a server's store", function()
  if not os.getenv "KEEL_TEST_POSTGRES" then return pending "KEEL_TEST_POSTGRES names no server" end
  local run
  before_each(function() run = at(support.server_uri()) end)
  after_each(support.clean_up)

  it("PG-1: behaves as on a file: some of the specs that tests/run.sh --server runs", function()
    local child = process.start({ "busted", "--exclude-tags=files", "--filter=keel runs list",
      "--filter=guardian takes its time", "spec/cli/runs_spec.lua", "spec/cli/exec_family_spec.lua" },
      { env = { KEEL_TEST_STORE = "postgres" }, cwd = command.root })
    local code, _, output = child:wait()
    assert.equal(0, code, output)
    assert.is_true(tonumber(output:match "(%d+) successes") > 3, output)
  end)

  it("runs a command, lists it and shows its events", function()
    assert.equal("hello\n", run("exec", "echo", "hello").output)
    local list = run("runs", "list")
    assert.equal(0, list.code, list.errors)
    assert.is_truthy(list.output:find("success .*echo hello"))
    assert.is_truthy(run("events").output:find "run_finished")
    assert.is_truthy(run("stats").output:find "runs +1")
  end)

  it("runs a command in the background, and works off what was put in line", function()
    local env = { KEEL_STORE = support.server_uri(), XDG_STATE_HOME = support.dir() }
    local function keel(...) return command.run({ ... }, { env = env }) end
    local detached = keel("exec", "--detach", "echo", "hello")
    assert.equal(0, detached.code, detached.errors)
    assert.equal("hello\n", keel("runs", "output", "--follow", detached.output:match "%S+").output)
    local created = keel("runs", "create", "sh", "-c", "echo $PPID; read line").output:match "%S+"
    local stopped = keel("runs", "create", "sh", "-c", "echo up; sleep 30").output:match "%S+"
    local child = command.start({ "work" }, { env = env })
    assert.equal(0, keel("runs", "wait", "--timeout", "20", created).code & 124)
    assert.is_truthy(keel("runs", "output", created).output:find "^%d+\n$")
    local follower = command.start({ "runs", "output", "--follow", stopped }, { env = env })
    follower:expect "up"
    assert.equal(0, keel("runs", "cancel", stopped).code)
    assert.equal(0, (follower:wait()))
    child.handle:kill "sigterm"
    assert.equal(0, (child:wait()))
    assert.is_truthy(keel("runs", "prune", "--keep-last", "0").output:find "3 outputs")
  end)

  it("PG-2: keeps a command's run when the connection is cut, and the guardian the connection that follows", function()
    local uri = support.server_uri()
    local store = support.open(uri)
    local words = { "exec", "sh", "-c", "echo $PPID; exec sleep 30" }
    local child = command.start(words, { env = { KEEL_STORE = uri } })
    local guardian = math.tointeger(child:hear())
    local before = store:list_inflight()[1]
    cut_connection(uri, before.session_id)
    process.poll_until(function() return store:get(before.run_id).session_id ~= before.session_id end, 10000)
    local session = store:get(before.run_id).session_id
    assert.not_equal(before.session_id, session)
    assert.equal("there was nothing to recover\n", at(uri)("reconcile").errors)
    uv.kill(guardian, "sigstop")
    child:kill()
    assert.is_true(store:session_alive(session))
    uv.kill(guardian, "sigcont")
    process.poll_until(function() return not store:session_alive(session) end, 10000)
    assert.is_false(store:session_alive(session))
  end)

  it("PG-2: so does keel work with the guardians of its commands", function()
    local uri = support.server_uri()
    local store = support.open(uri)
    local env = { KEEL_STORE = uri, XDG_STATE_HOME = support.dir() }
    local run_id = command.run({ "runs", "create", "sh", "-c", "echo $PPID; exec sleep 30" }, { env = env }).output
      :match "%S+"
    local child = command.start({ "work" }, { env = env })
    local follower = command.start({ "runs", "output", "--follow", run_id }, { env = env })
    local guardian = math.tointeger(follower:hear())
    local before, held = store:get(run_id), sockets_of(guardian)
    cut_connection(uri, before.session_id)
    assert.is_true(process.poll_until(function() return store:get(run_id).session_id ~= before.session_id end, 10000))
    local session = store:get(run_id).session_id
    assert.is_true(process.poll_until(function() return sockets_of(guardian) ~= held end, 10000))
    uv.kill(guardian, "sigstop")
    child:kill()
    assert.is_true(store:session_alive(session))
    uv.kill(guardian, "sigcont")
    assert.is_true(process.poll_until(function() return not store:session_alive(session) end, 10000))
  end)

  it("finds nothing wrong but that the tests' server does not write to its disk", function()
    assert.equal(0, run("exec", "true").code)
    local doctor = run("doctor", "--json")
    assert.same({ 1, "" }, { doctor.code, doctor.errors })
    assert.is_truthy(doctor.output:find '^[^\n]*"code":"fsync"[^\n]*\n$', doctor.output)
  end)

  it("says what to type for what only a file can do", function()
    assert.equal(0, run("exec", "true").code)
    local compact = run "compact"
    assert.equal(1, compact.code)
    assert.is_truthy(compact.errors:find("vacuumdb --full postgres\n", 1, true), compact.errors)
    local restore = run("restore", "--yes", "x")
    assert.equal(1, restore.code)
    assert.is_truthy(restore.errors:find("pg_restore", 1, true))
  end)

  it("tells the line that makes a backup, of which a copy makes a store of its own", function()
    assert.equal(0, run("exec", "true").code)
    local uri = support.server_uri()
    local dump, schema = support.dir() .. "/dump", uri:match "schema=([%w_]+)"
    local line = run("backup", "x").errors:match "pg_dump [^\n]+"
    local source = line:match "%-%-schema=([%w_]+)"
    local function sh(words) assert.is_true(os.execute("PGUSER=keel " .. words .. " >/dev/null"), words) end
    sh((line:gsub("FILE", dump)))
    local host = line:match "%-%-host=[^ ]+"
    sh(("createdb %s %s"):format(host, schema))
    sh(("pg_restore %s --dbname=%s %s"):format(host, schema, dump))
    local restored = uri:gsub("/postgres%?", "/" .. schema .. "?"):gsub("schema=[%w_]+", "schema=" .. source)
    local copied = run("copy", restored, uri)
    assert.equal(0, copied.code, copied.errors)
    sh(("dropdb %s %s"):format(host, schema))
    local copy = support.open(uri)
    assert.equal("success", copy:list_runs()[1].status)
    assert.same({}, copy:verify())
    assert.same({}, copy:sessions())
  end)
end)

describe("keel with a bad uri of a server", function()
  if not package.searchpath("keel.postgres", package.cpath) then return pending "keel.postgres is not built" end
  after_each(support.clean_up)

  it("says what is wrong, and shows neither user nor password", function()
    local run = at "postgresql://somebody:secret@127.0.0.1:1/nowhere"
    for _, words in ipairs { { "runs", "list" }, { "exec", "true" }, { "doctor" } } do
      local result = run(table.unpack(words))
      assert.not_equal(0, result.code)
      local said = result.output .. result.errors
      assert.is_nil(said:find("secret", 1, true), said)
      assert.is_nil(said:find("somebody", 1, true), said)
      assert.is_nil(said:find("folder", 1, true), said)
    end
  end)
end)
