--- keel reconcile, stats and backup.
local command = require "support.command"
local json = require("keel").json
local keel = require "keel"
local lfs = require "lfs"
local support = require "support"

local function orphaned(env)
  local child = command.start({ "exec", "-t", "x", "--", "sh", "-c", "echo up; sleep 30" }, { env = env })
  child:expect "up"
  child:kill()
end

describe("keel reconcile", function()
  after_each(support.clean_up)

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
    local object = json.decode(run("stats", "--json").output)
    local expected = store:stats()
    expected.alive_sessions, expected.path = 1, store:path()
    assert.same(expected, object)
  end)
end)

describe("keel backup", function()
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

  it("reads a store that cannot be written", function()
    local run, path = command.on_store()
    keel.open(path):close()
    assert(os.execute("chmod 400 " .. path))
    assert.equal(0, run("backup", path .. ".copy").code)
  end)
end)
