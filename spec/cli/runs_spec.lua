--- keel runs: looking at runs, stopping them, waiting for them, trying them again, deleting them.
local command = require "support.command"
local files = require "support.files"
local json = require("keel").json
local keel = require "keel"
local support = require "support"

-- The objects of an output, one a line.
local function objects(output)
  local list = {}
  for line in output:gmatch "[^\n]+" do list[#list + 1] = assert(json.decode(line)) end
  return list
end

-- A store with a run of each sort, and a function that runs the command on it.
local function prepared()
  local run, path, env = command.on_store()
  local store = support.open(path)
  assert(store:put("done", { thread_id = "a", status = "success", user_id = "u", claimable = true }))
  assert(store:put("failed", { thread_id = "a", status = "error", error = "it\27[31m\u{9B}broke", claimable = true }))
  assert(store:put("waiting", { thread_id = "b", claimable = true, kwargs = { command = { "cc", "x.c" } } }))
  return run, store, env, path
end

local function starts(child)
  child:expect "up"
  return child
end

describe("keel runs list", function()
  after_each(support.clean_up)

  it("RESULT-3: shows how far a run is, as `show` and `top` do, whatever a store says of it", function()
    local run, store = prepared()
    local function progress(value)
      assert(store:put("doing", { thread_id = "c", status = "running", session_id = store:session_id(),
        kwargs = { command = { "cc", "y.c" } }, progress = value }))
    end
    progress { done = 3, total = 7, message = "files" }
    assert.truthy(run("runs", "list").output:find("3/7 files: cc y.c", 1, true))
    assert.truthy(run("top", "--once").output:find("3/7 files", 1, true))
    assert.truthy(run("runs", "show", "doing").output:find("progress", 1, true))
    for value, shown in pairs { [{ done = 3 }] = " 3: cc y.c", [{ message = "a\27[31mb" }] = ": cc y.c",
      [{ done = "x", total = {} }] = " cc y.c", [{ 1, 2 }] = " cc y.c" } do
      progress(value)
      local output = run("runs", "list").output
      assert.truthy(output:find(shown, 1, true), output)
      assert.falsy(output:find("\27", 1, true))
    end
  end)

  it("shows the newest first, aligned, without control characters", function()
    local run = prepared()
    local result = run("runs", "list")
    local lines = {}
    for line in result.output:gmatch "[^\n]+" do lines[#lines + 1] = line end
    assert.equal(4, #lines)
    assert.is_truthy(lines[1]:find "^STATUS +RUN +THREAD +AGE +TOOK +CODE +WHAT$")
    local column = lines[1]:find("RUN", 1, true)
    for i, id in ipairs { "waiting", "failed", "done" } do
      assert.equal(column, lines[i + 1]:find(id, 1, true))
    end
    assert.is_truthy(lines[2]:find("cc x.c", 1, true))
    assert.is_truthy(lines[3]:find("it [31m broke", 1, true))
    assert.is_nil(result.output:find "[\27\x9B]")
  end)

  it("gives objects with the names of the reference, filtered and paged", function()
    local run, store = prepared()
    local all = objects(run("runs", "list", "--json").output)
    assert.same({ "waiting", "failed", "done" }, support.pluck(all, "run_id"))
    assert.same(store:get "failed", all[2])
    local function ids(...) return support.pluck(objects(run("runs", "list", "--json", ...).output), "run_id") end
    assert.same({ "failed", "done" }, ids("--thread", "a"))
    assert.same({ "failed" }, ids("--thread", "a", "--status", "error"))
    assert.same({ "done" }, ids("--user", "u"))
    assert.same({ "failed" }, ids("--after", "waiting", "--limit", "1"))
    assert(store:put("of a batch", { thread_id = "b", batch_id = "B" }))
    assert.same({ "of a batch" }, ids("--batch", "B"))
    local none = run("runs", "list", "--thread", "nobody")
    assert.same({ code = 0, output = "", errors = "there is no such run\n" }, none)
    assert.equal("", run("runs", "list", "--quiet", "--thread", "nobody").errors)
  end)
end)

describe("keel runs show", function()
  after_each(support.clean_up)

  it("shows the fields, what happened, and why a run is not running", function()
    local run = prepared()
    local shown = run("runs", "show", "waiting")
    assert.equal(0, shown.code)
    for _, text in ipairs { "\nthread_id +b\n", "\nwhy +it may start: it waits to be claimed\n", "run_created" } do
      assert.is_truthy(shown.output:find(text), text .. "\n" .. shown.output)
    end
    local object = objects(run("runs", "show", "--json", "waiting").output)[1]
    assert.equal("claim", object.explanation.waits_for)
    assert.same({ "cc", "x.c" }, object.kwargs.command)
  end)

  it("GATE-12: shows all that a run waits for, until when, and how long it has waited", function()
    local run, path = command.on_store()
    local clock = keel.testing.clock(os.time() - 7200)
    local manager = support.manager(support.open(path, { clock = clock.read }))
    local wants = { slots = { { name = "gpu", max = 1 } }, rates = { { name = "api", max = 1, per = 3 * 86400 } } }
    local holder = assert(manager:create("t", wants))
    assert(manager:try_start(holder.run_id))
    assert(manager:pause "gpu")
    local waiting = assert(manager:create("u", wants)).run_id
    local shown = run("runs", "show", waiting).output
    for _, text in ipairs { "\nwhy +as many runs as may hold 'gpu' do, among them " .. holder.run_id:gsub("%-", "%%-"),
      "\nand +as many runs as may start with 'api' have started %(until [%d-]+T[%d:.]+%+00:00%)\n",
      "\nand +gpu is paused\n", "\nwaited +2h\n" } do
      assert.is_truthy(shown:find(text), text .. "\n" .. shown)
    end
  end)

  it("shows all that happened, however much", function()
    local run, store = prepared()
    assert(store:transaction(function(tx)
      for i = 1, 1001 do assert(tx:append_event { kind = "said", run_id = "waiting", message = "no " .. i }) end
      return true
    end))
    assert.is_truthy(run("runs", "show", "waiting").output:find("no 1001\n", 1, true))
  end)

  it("tells when the process of a run is gone", function()
    local run, path, env = command.on_store()
    local child = starts(command.start({ "exec", "-t", "x", "--", "sh", "-c", "echo up; sleep 30" }, { env = env }))
    child:kill()
    local store = support.open(path)
    local row = store:list_runs()[1]
    local id = row.run_id
    -- The guardian holds the session until nothing of the command is left.
    assert.is_true(require("support.process").poll_until(function()
      return not store:session_alive(row.session_id)
    end, 10000))
    assert.is_truthy(run("runs", "show", id).output:find("its process is gone", 1, true))
    assert.is_truthy(run("runs", "list").output:find("its process is gone: sh -c", 1, true))
  end)
end)

describe("keel runs cancel", function()
  after_each(support.clean_up)

  it("stops what waits and what runs in another process", function()
    local run, path, env = command.on_store()
    local child = starts(command.start({ "exec", "-t", "x", "--", "sh", "-c", "echo up; sleep 30" }, { env = env }))
    local store = support.open(path)
    assert(store:put("waiting", { thread_id = "y", claimable = true }))
    local id = store:list_runs({ thread_id = "x" })[1].run_id
    local result = run("runs", "cancel", id, "waiting")
    assert.equal(0, result.code)
    assert.equal(id .. ": its process was asked to stop it\n"
      .. "waiting: it was pending, or had been stopped already: it is interrupted\n", result.output)
    assert.equal(143, (child:wait()))
    assert.equal("interrupted", store:get(id).status)
    assert.equal("interrupted", store:get("waiting").status)
  end)

  it("makes the outcome an error when it is rolled back", function()
    local run, path, env = command.on_store()
    local child = starts(command.start({ "exec", "-t", "x", "--", "sh", "-c", "echo up; sleep 30" }, { env = env }))
    local store = support.open(path)
    local id = store:list_runs({ thread_id = "x" })[1].run_id
    assert.equal(0, run("runs", "cancel", "--action", "rollback", id).code)
    child:wait()
    assert.equal("error", store:get(id).status)
  end)

  it("fails for what has ended or never was, and does the rest", function()
    local run, store = prepared()
    local result = run("runs", "cancel", "done", "nobody", "waiting")
    assert.equal(1, result.code)
    assert.equal("done: it has ended by itself\nnobody: there is no such run\n", result.errors)
    assert.equal("interrupted", store:get("waiting").status)
    assert.equal(0, #run("runs", "cancel", "--quiet", "waiting").output)
    local verdicts = support.pluck(objects(run("runs", "cancel", "--json", "done", "nobody").output), "verdict")
    assert.same({ "not_cancellable", "unknown" }, verdicts)
  end)
end)

describe("keel runs wait", function()
  after_each(support.clean_up)

  it("ends with the run, and tells by the exit code how", function()
    local run, store, env = prepared()
    assert.same({ code = 0, output = "done  success\n", errors = "" }, run("runs", "wait", "done"))
    assert.equal(1, run("runs", "wait", "done", "failed").code)
    assert(store:put("mine", { thread_id = "m", session_id = store:session_id(), status = "running" }))
    local child = command.start({ "runs", "wait", "--quiet", "mine" }, { env = env })
    assert(store:update_status("mine", "success"))
    assert.equal(0, (child:wait()))
    assert.equal("", child.output)
    assert.equal("success", objects(run("runs", "wait", "--json", "mine").output)[1].status)
  end)

  it("gives up when the time is over, and when nobody can end it", function()
    local run, store = prepared()
    local late = run("runs", "wait", "--timeout", "0.05", "waiting")
    assert.equal(124, late.code)
    assert.is_truthy(late.errors:find "has not ended in time")
    assert(store:put("lost", { thread_id = "l", status = "running" }))
    local lost = run("runs", "wait", "lost")
    assert.equal(1, lost.code)
    assert.is_truthy(lost.errors:find("'keel reconcile' recovers it", 1, true))
    assert.equal("orphan", json.decode(run("runs", "wait", "--json", "lost").errors).error.code)
  end)
end)

describe("keel runs retry", function()
  after_each(support.clean_up)

  it("runs a command again, where it ran, from wherever it is asked to", function()
    local folder = support.dir()
    local env = { KEEL_STORE = "keel.db" } -- from where we are
    local first = command.run({ "exec", "--user", "u", "-t", "x", "--", "sh", "-c", "pwd; test -e ok" },
      { env = env, cwd = folder })
    assert.equal(1, first.code)
    local elsewhere = support.dir()
    files.write(folder .. "/ok", "")
    local store = support.open(folder .. "/keel.db")
    local old = store:list_runs()[1]
    local again = command.run({ "--store", folder .. "/keel.db", "runs", "retry", "--yes", old.run_id },
      { cwd = elsewhere })
    assert.same({ 0, first.output }, { again.code, again.output })
    env.KEEL_STORE = "../" .. folder:match "[^/]+$" .. "/keel.db"
    again = command.run({ "runs", "retry", "-y", old.run_id, "--keep", "kept" }, { env = env, cwd = elsewhere })
    assert.equal(0, again.code)
    local runs = store:list_runs()
    assert.equal(3, #runs)
    assert.same({ "success", "u", "x" }, { runs[1].status, runs[1].user_id, runs[1].thread_id })
    assert.equal(first.output, files.read(("%s/kept/%s/stdout"):format(elsewhere, runs[1].run_id)))
  end)

  it("puts the work of others in line", function()
    local run, store = prepared()
    assert(store:put("job", { thread_id = "j", status = "error", kwargs = { url = "x" }, priority = 3 }))
    for _, option in ipairs { "--timeout", "--attempts" } do
      assert.equal(2, run("runs", "retry", "job", option, "3").code)
    end
    local result = run("runs", "retry", "job")
    local id = result.output:match "^(%S+)\n$"
    local new = store:get(id)
    assert.same({ "pending", true, 3, "x" }, { new.status, new.claimable, new.priority, new.kwargs.url })
    assert(store:update_status(id, "error"))
    local object = objects(run("runs", "retry", "--json", id).output)[1]
    assert.same({ id, id }, { object.retry_of, store:get(object.run_id).retry_of })
  end)

  it("FAMILY-5: starts what was failed with a source behind the source's newest try", function()
    local run, store = prepared()
    assert(store:put("source", { thread_id = "j", claimable = true }))
    assert(store:put("last", { thread_id = "j", claimable = true, after = { "source" } }))
    assert(store:update_status("source", "error"))
    assert.equal("error", store:get("last").status)
    local source = run("runs", "retry", "source").output:match "^(%S+)\n$"
    local last = run("runs", "retry", "last").output:match "^(%S+)\n$"
    assert.same({ "pending", { { run_id = source, on = "success" } } },
      { store:get(last).status, store:get(last).after })
    local again = run("runs", "retry", "source")
    assert.equal(75, again.code)
    assert.matches("the newest try is " .. source, again.errors, 1, true)
  end)

  it("F-13: keeps a reconciler that only others know, and decides over nothing in its name", function()
    local run, store = prepared()
    assert(store:put("job", { thread_id = "j", status = "error", reconciler = "patiently" }))
    local id = run("runs", "retry", "job").output:match "^(%S+)\n$"
    assert.equal("patiently", store:get(id).reconciler)
    assert(store:put("lost", { thread_id = "l", status = "running", reconciler = "patiently" }))
    assert(store:put("before", { thread_id = "l", status = "error", reconciler = "patiently" }))
    assert.equal(0, run("runs", "retry", "before").code)
    assert.equal("running", store:get("lost").status)
  end)

  it("F-24: carries the key on, which then gives the new run", function()
    local folder = support.dir()
    local run, path = command.on_store()
    local words = { "exec", "--key", "k", "--", "sh", "-c", ("echo x >>%s/n; test -e %s/ok"):format(folder, folder) }
    assert.equal(1, run(table.unpack(words)).code)
    local store = support.open(path)
    local old = store:list_runs()[1]
    files.write(folder .. "/ok", "")
    assert.equal(0, run("runs", "retry", "--yes", old.run_id).code)
    assert.equal(0, run(table.unpack(words)).code) -- what the retry came to
    assert.equal("x\nx\n", files.read(folder .. "/n"))
    local runs = store:list_runs()
    assert.same({ 2, "k", old.run_id }, { #runs, runs[1].idempotency_key, runs[1].retry_of })
  end)

  it("leaves alone what has not ended, and what is gone", function()
    local run = prepared()
    local busy = run("runs", "retry", "waiting")
    assert.equal(75, busy.code)
    assert.is_truthy(busy.errors:find("'keel runs cancel'", 1, true))
    assert.equal(1, run("runs", "retry", "nobody").code)
  end)
end)

describe("keel runs prune", function()
  after_each(support.clean_up)

  it("F-64: goes by when a run ended, not by a clock that was ahead when it was made", function()
    local run, path = command.on_store()
    local clock = keel.testing.clock(os.time() + 365 * 86400)
    local store = support.open(path, { clock = clock.read, monotonic = clock.read })
    assert(store:put("ahead", { thread_id = "t", status = "running" }))
    assert(store:put("later", { thread_id = "t", status = "running" }))
    clock.advance(-(365 + 60) * 86400)
    assert(store:update_status("ahead", "success"))
    clock.advance(60)
    assert(store:put("after", { thread_id = "t", status = "success" }))
    assert.is_truthy(run("runs", "list").output:find "ahead +t +%-365d")
    local counts = objects(run("runs", "prune", "--json", "--before", "30d").output)[1]
    assert.same({ 2, 4 }, { counts.runs, counts.events })
    assert.is_nil(store:get "ahead")
    assert.is_nil(store:get "after")
    assert.is_truthy(store:get "later")
    assert.equal(0, #assert(store:verify()))
  end)

  it("when it is dry tells what it would delete, and deletes nothing", function()
    local run, store = prepared()
    local would = run("runs", "prune", "--dry-run", "--keep-last", "0")
    local counts = objects(run("runs", "prune", "--dry-run", "--keep-last", "0", "--json").output)[1]
    assert.is_nil(counts.unused_bytes)
    assert.equal(3, #store:list_runs())
    assert.same({ 0, "" }, { would.code, would.errors })
    assert.equal((would.output:gsub("^would be ", ""):gsub("\n", ", 0 outputs\n")),
      run("runs", "prune", "--keep-last", "0").output)
    assert.equal(2, counts.runs)
    assert.equal(1, #store:list_runs())
  end)

  it("deletes what is old, and tells how much", function()
    local run, path = command.on_store()
    local clock = keel.testing.clock()
    local store = support.open(path, { clock = clock.read, monotonic = clock.read })
    for _, id in ipairs { "one", "two", "three" } do
      assert(store:put(id, { thread_id = "t" }))
      assert(store:update_status(id, id == "two" and "error" or "success"))
    end
    local result = run("runs", "prune", "--before", "1h", "--status", "error")
    assert.equal("deleted: 1 run, 0 workers, 0 diagnostics, 6 events, 0 outputs\n", result.output)
    assert.is_nil(store:get "two")
    local counts = objects(run("runs", "prune", "--json", "--keep-last", "1").output)[1]
    assert.equal(1, counts.runs)
    assert.is_truthy(store:get "three")
    assert.same({ code = 0, output = "", errors = "" },
      run("runs", "prune", "--quiet", "--before", "2100-01-01"))
    assert.is_nil(store:get "three")
  end)
end)
