--- keel reconcile, stats and backup.
local command = require "support.command"
local files = require "support.files"
local json = require("keel").json
local keel = require "keel"
local lfs = require "lfs"
local process = require "support.process"
local support = require "support"
local terminal = require "support.terminal"

local function orphaned(env)
  local child = command.start({ "exec", "-t", "x", "--", "sh", "-c", "echo up; sleep 30" }, { env = env })
  child:expect "up"
  child:kill()
end

describe("keel reconcile", function()
  after_each(support.clean_up)

  it("F-13: decides in place of a reconciler that nobody here knows, by a name or by a script", function()
    local run, path = command.on_store()
    local script = support.dir() .. "/mine.lua"
    files.write(script, "return function(run) return { status = 'interrupted', error = 'mine: ' .. run.thread_id } end")
    local function orphan()
      local store = support.open(path)
      local runs = support.manager(store, { reconcilers = { patiently = function() end } })
      local made = assert(runs:create("t", { reconciler = "patiently" }))
      store:close()
      return made.run_id
    end
    local run_id = orphan()
    local refused = run("reconcile")
    assert.is_true(refused.code ~= 0)
    assert.is_truthy(refused.errors:find("patiently, which this process does not know", 1, true))
    assert.equal(0, run("reconcile", "--reconciler", "fail_orphans").code)
    assert.equal("error", support.open(path):get(run_id).status)
    run_id = orphan()
    assert.equal(0, run("reconcile", "--reconciler", script).code)
    local row = support.open(path):get(run_id)
    assert.same({ "interrupted", "mine: t" }, { row.status, row.error })
  end)

  it("F-16: says of a lease that has ended by the clock that it has not watched it for long enough", function()
    local run, path = command.on_store()
    local clock = keel.testing.clock(os.time() - 120)
    local store = support.open(path, { clock = clock.read, monotonic = clock.read })
    local runs = support.manager(store, { lease_ttl = 60 })
    local made = assert(runs:create "t")
    assert(runs:try_start(made.run_id))
    local result = run("reconcile")
    assert.equal(0, result.code)
    assert.is_truthy(result.errors:find("there was nothing to recover", 1, true))
    assert.is_truthy(result.errors:find("1 run left: the lease has ended by the clock", 1, true), result.errors)
    assert.equal("", run("reconcile", "--quiet").errors)
    assert.equal("running", store:get(made.run_id).status)
    clock.advance(120)
    assert(runs:heartbeat())
    assert.equal("there was nothing to recover\n", run("reconcile").errors)
  end)

  it("F-57: --session ends no session that is alive, and says when there is none", function()
    local run, path = command.on_store()
    local store = support.open(path)
    local made = assert(support.manager(store):create "t")
    local result = run("reconcile", "--session", tostring(store:session_id()))
    assert.is_true(result.code ~= 0)
    assert.is_truthy(result.errors:find(("session %d is alive: end its process, %d"):format(store:session_id(),
      process.pid()), 1, true), result.errors)
    assert.equal("pending", store:get(made.run_id).status)
    result = run("reconcile", "--session", "99")
    assert.same({ 1, "keel reconcile: there is no session 99; 'keel doctor' names those that nothing can judge\n" },
      { result.code, result.errors })
  end)

  it("recovers what a killed process has left", function()
    local run, path, env = command.on_store()
    orphaned(env)
    local result = run("reconcile", "--error", "it was killed")
    assert.equal(0, result.code)
    assert.is_truthy(result.output:find "\nerror +%S+ +x +.*it was killed: sh %-c")
    assert.equal("it was killed", support.open(path):list_runs()[1].error)
    assert.same({ code = 0, output = "", errors = "there was nothing to recover\n" }, run("reconcile"))
    assert.equal("", run("reconcile", "--quiet").errors)
  end)

  it("puts work in line again with requeue_orphans, and leaves alone what is alive", function()
    local run, path, env = command.on_store()
    orphaned(env)
    local store = support.open(path)
    assert(store:put("mine", { thread_id = "m", session_id = store:session_id() }))
    local run_again = json.decode(run("reconcile", "--json", "--reconciler", "requeue_orphans").output)
    assert.same({ "pending", true, 1 }, { run_again.status, run_again.claimable, run_again.losses })
    assert.equal("pending", store:get("mine").status)
  end)
end)

describe("keel stats", function()
  after_each(support.clean_up)

  it("counts, for people and for programs", function()
    local run, path = command.on_store()
    local store = support.open(path)
    assert(store:put("a", { thread_id = "t", session_id = store:session_id() }))
    local text = run("stats").output
    assert.is_truthy(text:find("\nruns +1\npending runs +1\nrunning runs +0\n"))
    assert.is_truthy(text:find("\nalive sessions +1\n"))
    assert.is_truthy(text:find("\noldest waiting +a\noldest waiting age +[%d.]+s\nlimits +0\npauses +0\n"))
    local object = json.decode(run("stats", "--json").output)
    local expected = store:stats()
    expected.alive_sessions, expected.path = 1, store:path()
    assert.is_true(object.oldest_waiting_age <= expected.oldest_waiting_age)
    expected.oldest_waiting_age = object.oldest_waiting_age
    assert.same(expected, object)
  end)
end)

describe("keel backup [#files]", function()
  after_each(support.clean_up)

  it("copies a store that is in use", function()
    local run, path = command.on_store()
    local store = support.open(path)
    assert(store:put("a", { thread_id = "t", session_id = store:session_id() }))
    local copy = path .. ".copy"
    local result = run("backup", copy)
    assert.equal(0, result.code)
    assert.equal(("%s: %.1f KiB\n"):format(copy, lfs.attributes(copy, "size") / 1024), result.output)
    assert.equal("t", support.open(copy, { readonly = true }):get("a").thread_id)
    assert.same({ path = copy .. "2", bytes = lfs.attributes(copy, "size") },
      json.decode(run("backup", "--json", copy .. "2").output))
    assert.same({ code = 0, output = "", errors = "" }, run("backup", "--quiet", copy .. "3"))
  end)

  it("writes over nothing, and makes no folders", function()
    local run, path = command.on_store()
    keel.open(path):close()
    local there = run("backup", path)
    assert.equal(2, there.code)
    assert.is_truthy(there.errors:find("is there already", 1, true))
    local nowhere = run("backup", path .. "/x/copy")
    assert.equal(1, nowhere.code)
    assert.is_truthy(nowhere.errors:find("^keel backup: cannot write [^\n]+\n$"), nowhere.errors)
  end)

  it("writes the copy to standard output, and leaves nothing behind", function()
    local _, path, env = command.on_store()
    local store = support.open(path)
    assert(store:put("a", { thread_id = "t", metadata = { long = ("x"):rep(200000) } }))
    env.TMPDIR = support.dir()
    local result = command.run({ "backup", "-" }, { env = env })
    assert.same({ 0, ("keel backup: %.1f KiB\n"):format(#result.output / 1024) }, { result.code, result.errors })
    local copy = path .. ".copy"
    local file = assert(io.open(copy, "wb"))
    file:write(result.output)
    file:close()
    local copied = support.open(copy, { readonly = true })
    assert.equal(200000, #copied:get("a").metadata.long)
    assert.same({}, copied:verify())
    assert.equal("", command.run({ "backup", "--quiet", "-" }, { env = env }).errors)
    for name in lfs.dir(env.TMPDIR) do assert.matches("^%.%.?$", name) end
    env.TMPDIR = env.TMPDIR .. "/nowhere"
    result = command.run({ "backup", "-" }, { env = env })
    assert.same({ 1, "" }, { result.code, result.output })
    assert.matches("cannot make the folder " .. env.TMPDIR, result.errors, 1, true)
  end)

  it("writes no copy on a terminal, nor a part of one as if it were whole", function()
    local _, path, env = command.on_store()
    keel.open(path):close()
    local screen = terminal.keel({ "backup", "-" }, { env = env })
    screen:expect "a copy is no text for a terminal; write: keel backup - >FILE, or a pipe"
    assert.equal(2, screen:ended())
    local child = process.start({ "sh", "-c", '"$1" backup - >/dev/full', "sh", command.program }, { env = env })
    assert.equal(1, (child:wait()))
    assert.matches("cannot write the copy to standard output: No space left on device", child.errors, 1, true)
  end)

  it("reads a store that cannot be written", function()
    local run, path = command.on_store()
    keel.open(path):close()
    assert(os.execute("chmod 400 " .. path))
    assert.equal(0, run("backup", path .. ".copy").code)
  end)
end)
