--- Which run: what a RUN may be on the command line, how ids are shown, and filters in place of RUNs.
local command = require "support.command"
local json = require("keel").json
local keel = require "keel"
local lfs = require "lfs"
local support = require "support"
local terminal = require "support.terminal"

local A, B = "01a22f91-156e-714e-be8c-98f5d0862e5e", "01a22f91-167f-719c-b799-5d73e45bd62e"

local function objects(output)
  local list = {}
  for line in output:gmatch "[^\n]+" do list[#list + 1] = assert(json.decode(line)) end
  return list
end

-- A function that runs the command on a store, and the store: two runs with long ids on the threads a and b.
local function prepared()
  local run, path, env = command.on_store()
  local store = support.open(path)
  assert(store:put(A, { thread_id = "a", status = "success" }))
  assert(store:put(B, { thread_id = "b", claimable = true }))
  return run, store, env
end

local function ids(result) return support.pluck(objects(result.output), "run_id") end

describe("a RUN", function()
  after_each(support.clean_up)

  it("is a whole id, a part that fits one run, the last one, or a thread's last", function()
    local run, store = prepared()
    assert(store:put("a6", { thread_id = "c", status = "error" })) -- the whole id goes before what it is a part of
    assert(store:put("@b", { thread_id = "d", status = "success" }))
    for typed, meant in pairs { [A] = A, ["714e"] = A, ["2e5e"] = A, ["…d62e"] = B, ["5d73e45bd62e"] = B, a6 = "a6",
      ["@"] = "@b", ["@a"] = A, ["@c"] = "a6", ["@b"] = "@b" } do
      assert.same({ meant }, ids(run("runs", "show", "--json", typed)), typed)
    end
  end)

  it("is the run whose end was typed, though others have that in their middle", function()
    local run, store = prepared()
    assert(store:put("01a22f91-2e5e-714e-be8c-000000000000", { thread_id = "c" }))
    assert.same({ A }, ids(run("runs", "show", "--json", "2e5e")))
  end)

  it("that fits several is told on one line, with those that it may be", function()
    local run, store = prepared()
    for i = 1, 5 do assert(store:put(("%s-%d"):format(A, i), { thread_id = "c", status = "error" })) end
    local result = run("runs", "show", "01a22f91")
    assert.equal(2, result.code)
    assert.equal("keel runs show: '01a22f91' fits 7 runs: 862e5e-5 (error on c), 862e5e-4 (error on c), 862e5e-3 "
      .. "(error on c), 862e5e-2 (error on c), 862e5e-1 (error on c), 2 more; write more of the one you "
      .. "mean\n", result.errors)
    assert.equal("usage", json.decode(run("runs", "wait", "--json", "01a").errors).error.code)
    assert.same({ A .. "-3" }, ids(run("runs", "show", "--json", "862e5e-3")))
  end)

  it("that fits none is not found, and what there is instead is named", function()
    local run = prepared()
    for typed, text in pairs { nobody = "there is no run nobody; 'keel runs list' lists them",
      ["@z"] = "thread z has no run; 'keel runs list' lists what there is" } do
      local result = run("runs", "retry", typed)
      assert.same({ 1, "keel runs retry: " .. text .. "\n" }, { result.code, result.errors })
    end
    assert.equal(2, run("runs", "show", "").code)
    local empty, path = command.on_store()
    support.open(path):close()
    assert.matches("there is no run yet; 'keel exec' makes one", empty("runs", "show", "@").errors, 1, true)
  end)

  it("is looked for among the newest thousand", function()
    local run, store = prepared()
    assert(store:transaction(function(tx)
      for i = 1, 999 do assert(tx:put("r" .. i, { thread_id = "t", status = "success" })) end
      return true
    end))
    assert.equal(1, run("runs", "show", "2e5e").code)
    assert.equal(0, run("runs", "show", "d62e").code)
    assert.equal(0, run("runs", "show", A).code)
    assert.equal(0, run("runs", "show", "@a").code)
  end)

  it("names the runs of cancel, wait, retry, events and of the place where a list goes on", function()
    local run, store = prepared()
    assert.same({ A }, ids(run("runs", "list", "--json", "--after", "@b")))
    assert.equal(B, objects(run("events", "--json", "--run", "bd62e").output)[1].run_id)
    assert.equal(B, objects(run("runs", "cancel", "--json", "@").output)[1].run_id)
    assert.equal("interrupted", store:get(B).status)
    assert.equal(A .. "  success\n", run("runs", "wait", "@a", A, "2e5e").output)
    assert.equal(B, objects(run("runs", "retry", "--json", "e45bd62e").output)[1].retry_of)
    local after = run("exec", "-t", "x", "--after", "2e5e,@a", "--after-any", "bd62e", "--", "true")
    assert.same({ 0, "" }, { after.code, after.errors })
    for _, source in ipairs(store:list_runs({ thread_id = "x" })[1].after) do
      assert.equal(source.on == "final" and B or A, source.run_id)
    end
    assert.equal(2, run("exec", "--after", "01a22f91", "--", "true").code)
  end)

  it("never means another run where runs are changed and the one that was meant is gone", function()
    local run, store = prepared()
    assert.equal(1, run("runs", "cancel", "67f").code) -- is in one id, but who knows
    assert.equal("pending", store:get(B).status)
    assert.equal(0, run("runs", "cancel", "67f-719c").code)
    assert.equal("interrupted", store:get(B).status)
    for _, id in ipairs { "job-10", "x-a-short-name", "retry-of-" .. A, "y-" .. B } do
      assert(store:put(id, { thread_id = "c", status = "error" }))
    end
    assert(store:delete(A))
    for _, typed in ipairs { "job-1", A, "862e5e", "01a22f91-156e", "a-short-name", "…d0862e5e" } do
      for _, name in ipairs { "cancel", "retry", "delete" } do
        assert.equal(1, run("runs", name, name ~= "cancel" and "--yes" or "--quiet", typed).code, name .. typed)
      end
      assert.equal(0, run("runs", "show", typed).code, typed)
    end
    assert.equal(2, run("runs", "delete", "--yes", "e45bd62e").code) -- of two
    assert.equal(5, #store:list_runs())
    assert.equal("deleted: 1 run\n", run("runs", "delete", "--yes", "d0862e5e").output)
    assert.is_nil(store:get("retry-of-" .. A))
  end)

  it("of events may be one that was deleted", function()
    local run, store = prepared()
    assert(store:delete(A))
    assert.equal(A, objects(run("events", "--json", "--run", A).output)[1].run_id)
    assert.equal(1, run("events", "--run", "@a").code)
  end)

  it("is offered by Tab as an id, by its end, and by its thread", function()
    local run = prepared()
    local function offered(typed)
      local list = {}
      for word in run("__complete", "runs", "show", typed).output:gmatch "\n([^\t]+)" do list[#list + 1] = word end
      return list
    end
    assert.same({ B, A }, offered "01a")
    assert.same({ "e45bd62e", "d0862e5e" }, offered "d0")
    assert.same({ "@b", "@a" }, offered "@")
  end)
end)

describe("ids in a table", function()
  after_each(support.clean_up)

  it("are shown by the end that differs, as long as needed", function()
    local run, store = prepared()
    assert(store:put("a-name-given-by-hand", { thread_id = "c" }))
    assert(store:put("x" .. A:sub(2), { thread_id = "c" }))
    local output = run("runs", "list").output
    for _, shown in ipairs { "a-name-given-by-hand", "e45bd62e", "x1a22f91-156e-714e-be8c-98f5d0862e5e", A } do
      assert.matches(" " .. shown .. " ", output, 1, true)
    end
    assert.not_matches(B, output, 1, true)
    assert.same({ B }, ids(run("runs", "list", "--json", "--thread", "b")))
  end)

  it("differ from those of all the newest thousand, and are whole behind those", function()
    local run, store = prepared()
    assert(store:transaction(function(tx)
      for i = 1, 999 do
        assert(tx:put(i == 9 and "another-long-id-45bd62e" or "r" .. i, { thread_id = "t", status = "success" }))
      end
      return true
    end))
    assert.matches(" " .. A .. " ", run("runs", "list", "--thread", "a").output, 1, true)
    assert.matches(" e45bd62e ", run("runs", "list", "--thread", "b").output, 1, true)
    assert(store:put("a-long-id-of-a-run-e45bd62e", { thread_id = "t" }))
    assert.matches(" " .. B .. " ", run("runs", "list", "--after", "r1").output, 1, true)
    assert(store:delete "r999")
    assert.matches(" 3e45bd62e ", run("runs", "list", "--thread", "b").output, 1, true)
  end)

  it("are whole where an old run has their end as its id", function()
    local run, store = command.on_store()
    store = support.open(store)
    assert(store:put("e45bd62e", { thread_id = "t" }))
    assert(store:transaction(function(tx)
      for i = 1, 1000 do assert(tx:put("r" .. i, { thread_id = "t", status = "success" })) end
      return tx:put(B, { thread_id = "b" })
    end))
    assert.matches(" " .. B .. " ", run("runs", "list", "--thread", "b").output, 1, true)
  end)

  it("are shown in whole characters, and so that they can be typed", function()
    local run, store = prepared()
    local long = "a-run-with-a-long-name/"
    for i, last in ipairs { "ü2345678", "-2345678", "@234567" } do
      assert(store:put(long .. last, { thread_id = "c" .. i }))
    end
    local output = run("runs", "list").output
    for _, shown in ipairs { "/-2345678", "/@234567", " ü2345678 " } do
      assert.matches(shown, output, 1, true)
    end
  end)
end)

describe("keel runs list", function()
  after_each(support.clean_up)

  it("shows label, folder and handler, and what runs are about that were made in Lua", function()
    local run, store = prepared()
    local home = support.dir()
    assert(store:put("mail", { thread_id = "m", claimable = true, handler = "mail", assistant_id = "postman",
      metadata = { label = "monthly", to = { "x" } } }))
    assert(store:put("make", { thread_id = "m", claimable = true, metadata = { label = "the docs" },
      kwargs = { command = { "make", "docs" }, directory = home .. "/src" } }))
    local result = command.run({ "runs", "list" }, { env = { KEEL_STORE = store:path(), HOME = home } })
    assert.matches("CODE +HANDLER +FOLDER +WHAT\n", result.output)
    assert.matches(" make +m +%S+ +~/src +the docs: make docs\n", result.output)
    assert.matches(" mail +m +%S+ +mail +monthly: postman {\"to\":%[\"x\"%]}\n", result.output)
    assert.not_matches("HANDLER", run("runs", "list", "--thread", "a").output)
  end)

  it("finds a text, and tells how many runs it has looked at", function()
    local run, store = prepared()
    assert(store:put("one", { thread_id = "t", status = "error", error = "No such FILE" }))
    assert(store:put("two", { thread_id = "files", status = "success" }))
    assert(store:put("three", { thread_id = "t", metadata = { path = "a/File" } }))
    assert(store:put("four", { thread_id = "t", kwargs = { command = { "file", "x" } } }))
    local result = run("runs", "list", "--grep", "file")
    for _, id in ipairs { "one", "two", "three", "four" } do
      assert.matches(" " .. id .. " ", result.output, 1, true)
    end
    assert.equal("6 runs looked at\n", result.errors)
    assert.same({ "four", "three" }, ids(run("runs", "list", "--json", "--grep", "FILE", "--limit", "2")))
    assert.equal("there is no such run\n6 runs looked at\n", run("runs", "list", "--grep", "%d").errors)
  end)

  it("goes by when runs were made, beyond one that was made under a clock that was ahead or behind", function()
    local run, path = command.on_store()
    local clock = keel.testing.clock(os.time() - 7200)
    local store = support.open(path, { clock = clock.read, monotonic = clock.read })
    assert(store:put("old", { thread_id = "t" }))
    clock.advance(7000)
    assert(store:put("new", { thread_id = "t" }))
    clock.advance(-7200)
    assert(store:put("behind", { thread_id = "t" }))
    assert.same({ "new" }, ids(run("runs", "list", "--json", "--since", "1h")))
    assert.same({ "behind", "new", "old" }, ids(run("runs", "list", "--json", "--since", "3h")))
    assert.equal(2, run("runs", "list", "--since", "30").code)
  end)
end)

describe("a filter in place of RUNs", function()
  after_each(support.clean_up)

  it("and neither or both are wrong usage", function()
    local run = prepared()
    for _, name in ipairs { "cancel", "wait", "retry", "delete" } do
      local neither = run("runs", name)
      assert.same({ 2, "keel runs " .. name .. ": which runs? Give a RUN ('@' is the last one), or a filter such as "
        .. "--thread KEY\n" }, { neither.code, neither.errors })
      local both = run("runs", name, "-t", "a", A)
      assert.equal(2, both.code)
      assert.matches("give RUNs, or a filter in place of them, not both", both.errors, 1, true)
    end
  end)

  it("FAMILY-4: stops all in flight that it means", function()
    local run, store = prepared()
    for i = 1, 70 do assert(store:put("r" .. i, { thread_id = "many", user_id = i > 65 and "u" or nil })) end
    assert.equal("stopped, or asked to stop: 5 runs\n", run("runs", "cancel", "--user", "u").output)
    assert.same({ { cancelled = 65 } }, objects(run("runs", "cancel", "--json", "--thread", "many", "--status",
      "pending", "--action", "rollback").output))
    assert.same({ "interrupted", "rollback" }, { store:get("r1").status, store:get("r1").cancel_action })
    assert.equal("pending", store:get(B).status)
    assert.equal("stopped, or asked to stop: 0 runs\n", run("runs", "cancel", "--since", "2100-01-01").output)
  end)

  it("waits for what is in flight, and with a batch or a time counts what has ended too", function()
    local run, store, env = prepared()
    assert(store:put("failed", { thread_id = "t", batch_id = "b", status = "error" }))
    assert(store:put("mine", { thread_id = "t", batch_id = "b", status = "running", session_id = store:session_id() }))
    local child = command.start({ "runs", "wait", "--thread", "t" }, { env = env })
    assert(store:update_status("mine", "success"))
    assert.equal(0, (child:wait()))
    assert.equal("failed  error\nmine  success\n", run("runs", "wait", "--batch", "b").output)
    assert.equal(1, run("runs", "wait", "--since", "1h", "-t", "t").code)
    assert.same({ code = 0, output = "", errors = "there is no such run\n" }, run("runs", "wait", "--thread", "t"))
  end)

  it("FAMILY-5: puts what has failed in line again, once", function()
    local run, store = prepared()
    for i = 1, 3 do assert(store:put("r" .. i, { thread_id = "t", status = i < 3 and "error" or "interrupted" })) end
    assert.equal("put in line: 2 runs\n", run("runs", "retry", "--thread", "t").output)
    assert.same({ { retried = 1 } },
      objects(run("runs", "retry", "--json", "--thread", "t", "--status", "interrupted").output))
    assert.equal("put in line: 0 runs\n", run("runs", "retry", "--thread", "t").output)
    assert.equal(3, #store:list_inflight { thread_id = "t" })
  end)

  it("runs commands again one after the other, and the exit code is the first that failed", function()
    local folder = support.dir()
    local env = { KEEL_STORE = "keel.db" } -- from where we are, which is not where they run
    for _, words in ipairs { "echo one; exit 3", "echo two; exit 4" } do
      command.run({ "exec", "-t", words, "--", "sh", "-c", words }, { env = env, cwd = folder })
    end
    local elsewhere = support.dir()
    env.KEEL_STORE = folder .. "/keel.db"
    local again = command.run({ "--store", "../" .. folder:match "[^/]+$" .. "/keel.db", "runs", "retry", "--yes",
      "--status", "error" }, { cwd = elsewhere })
    assert.same({ 3, "one\ntwo\n" }, { again.code, again.output })
    local last = command.run({ "runs", "retry", "--yes", "@echo two; exit 4", "@echo one; exit 3" }, { env = env })
    assert.same({ 4, "two\none\n" }, { last.code, last.output })
    local store = support.open(folder .. "/keel.db")
    assert.equal(6, #store:list_runs())
  end)

  it("begins no further command when keel was asked to stop", function()
    local run, path, env = command.on_store()
    local folder = support.dir()
    local waits = ("test -e %s/begun && { echo up; exec sleep 30; }; exit 1"):format(folder)
    for i = 1, 2 do assert.equal(1, run("exec", "-t", "t" .. i, "--", "sh", "-c", waits).code) end
    require("support.files").write(folder .. "/begun", "")
    local child = command.start({ "runs", "retry", "--yes", "@t1", "@t2" }, { env = env })
    child:expect "up"
    child.handle:kill "sigterm"
    assert.equal(143, (child:wait()))
    local store = support.open(path)
    assert.equal(3, #store:list_runs())
  end)
end)

describe("keel runs delete", function()
  after_each(support.clean_up)

  it("deletes what has ended, and refuses what is in flight", function()
    local run, store = prepared()
    local result = run("runs", "delete", "--yes", A, "@b")
    assert.same({ 75, "deleted: 1 run\n", B .. ": it is in flight; stop it first, with 'keel runs cancel'\n" },
      { result.code, result.output, result.errors })
    assert.is_nil(store:get(A))
    assert.equal("pending", store:get(B).status)
    assert.same({ { run_id = A, verdict = "unknown" } }, objects(run("runs", "delete", "-y", "--json", A).output))
    assert.equal(1, run("runs", "delete", "--yes", A).code)
    assert.equal(0, #store:verify())
  end)

  it("leaves alone what is finalizing", function()
    local run, store = prepared()
    local manager = support.manager(store)
    local id = assert(manager:create "t").run_id
    assert(manager:try_start(id))
    assert.is_true(manager:cancel(id))
    assert.equal(75, run("runs", "delete", "--yes", id).code)
    assert.is_true(store:get(id).finalizing)
  end)

  it("deletes all that a filter means and that has ended", function()
    local run, store = prepared()
    for i = 1, 130 do assert(store:put("r" .. i, { thread_id = "many", status = i % 2 == 0 and "error" or nil })) end
    assert.equal("deleted: 65 runs\n", run("runs", "delete", "--yes", "--thread", "many").output)
    assert.equal(65, #store:list_runs { thread_id = "many" })
    assert.is_truthy(store:get(A))
  end)

  it("leaves alone, with a filter, what is no run but another's record", function()
    local run, store = prepared()
    assert(store:put("theirs", { thread_id = "keel.machine/m", status = "success", operation_kind = "dispatch" }))
    assert.equal("deleted: 1 run\n", run("runs", "delete", "--yes", "--since", "1h").output)
    assert.is_truthy(store:get "theirs")
    assert.equal(0, run("runs", "delete", "--yes", "theirs").code)
    assert.is_nil(store:get "theirs")
  end)

  it("takes the output that was kept with it", function()
    local run, path = command.on_store { XDG_STATE_HOME = support.dir() }
    local id = run("exec", "--detach", "-t", "t", "--", "echo", "hi").output:match "^(%S+)\n$"
    assert.equal(0, run("runs", "wait", id).code)
    assert.equal("hi\n", run("runs", "output", "@t").output)
    local folder = support.open(path, { readonly = true }):get(id).logs_path
    assert.is_truthy(lfs.attributes(folder))
    assert.equal("deleted: 1 run\n", run("runs", "delete", "--yes", "@t").output)
    assert.is_nil(lfs.attributes(folder))
  end)

  it("asks, and deletes nothing where nobody can be asked or says no", function()
    local run, store, env = prepared()
    local result = run("runs", "delete", A)
    assert.same({ 2, "keel runs delete: nobody can be asked whether to delete them: give --yes\n" },
      { result.code, result.errors })
    local function answered(answer)
      local screen = terminal.keel({ "runs", "delete", A }, { env = env })
      screen:expect(("Delete run %s? [y/N]"):format(A))
      screen:enter(answer)
      return screen:ended()
    end
    assert.equal(1, answered "n")
    assert.is_truthy(store:get(A))
    assert.equal(0, answered "y")
    assert.is_nil(store:get(A))
  end)
end)
