--- keel doctor: each thing that can be wrong, made real, is found, and named with what to do.
local command = require "support.command"
local files = require "support.files"
local keel = require "keel"
local support = require "support"

local json = keel.json

-- What it finds, by code; asserts that the exit code fits, and that people are told the same.
local function findings(run)
  local result = run("doctor", "--json")
  local found, count = {}, 0
  for line in result.output:gmatch "[^\n]+" do
    local finding = assert(json.decode(line))
    found[finding.code], count = finding, count + 1
  end
  assert.equal(count > 0 and 1 or 0, result.code, result.errors)
  assert.equal("", result.errors)
  local text = run("doctor").output
  for _, finding in pairs(found) do
    assert.is_truthy(text:find(finding.message, 1, true), text)
    assert.is_truthy(text:find("\n  " .. finding.advice, 1, true), text)
  end
  return found
end

-- A run of `keel exec` that is running.
local function busy(env, thread)
  local child = command.start({ "exec", "-t", thread, "--", "sh", "-c", "echo up; sleep 30" }, { env = env })
  child:expect "up"
  return child
end

describe("keel doctor", function()
  after_each(support.clean_up)

  it("is content with a sound store in use #files", function()
    local run, path, env = command.on_store()
    busy(env, "x")
    assert.same({ code = 0, output = path .. ": all is well\n", errors = "" }, run("doctor"))
    assert.same({ code = 0, output = "", errors = "" }, run("doctor", "--quiet"))
    assert.same({}, findings(run))
  end)

  it("finds what a killed process has left, and who waits behind it #files", function()
    local run, path, env = command.on_store()
    local child = busy(env, "x")
    local store = support.open(path)
    local id = store:list_runs()[1].run_id
    assert(store:put("next", { thread_id = "x", claimable = true }))
    child:kill()
    local finding = findings(run).orphans
    assert.same({ id }, finding.run_ids)
    assert.equal(1, finding.count)
    assert.is_truthy(finding.message:find("1 more run on the same thread", 1, true))
    assert.equal(0, run("reconcile").code)
    assert.same({}, findings(run))
  end)

  it("F-13: names the reconciler of what a dead process has left, when keel does not know it", function()
    local run, path = command.on_store()
    local store, ids = support.open(path), {}
    local runs = support.manager(store, { reconcilers = { patiently = function() end } })
    ids[1] = assert(runs:create("a", { reconciler = "patiently" })).run_id
    ids[2] = assert(runs:create("b", { reconciler = "fail_orphans" })).run_id
    store:close()
    local found = findings(run)
    assert.same({ "patiently" }, found.unknown_reconciler.reconcilers)
    assert.same({ ids[1] }, found.unknown_reconciler.run_ids)
    assert.is_truthy(found.unknown_reconciler.message:find("(reconciler patiently)", 1, true))
    assert.same({ ids[2] }, found.orphans.run_ids)
    store = support.open(path)
    assert(store:set_reconciler "of_the_store")
    local third = support.open(path)
    ids[3] = assert(support.manager(third):create "c").run_id
    third:close()
    assert.same({ "patiently", "of_the_store" }, findings(run).unknown_reconciler.reconcilers)
  end)

  it("finds a process that is stopped with a run", function()
    local run, path, env = command.on_store()
    local child = busy(env, "x")
    local id = support.open(path):list_runs()[1].run_id
    child.handle:kill "sigstop"
    local finding
    assert.is_true(require("support.process").poll_until(function()
      finding = findings(run).stopped
      return finding
    end))
    assert.same({ id }, finding.run_ids)
    assert.is_truthy(finding.message:find("process " .. child.pid, 1, true))
    child.handle:kill "sigcont"
  end)

  it("finds deadlines and leases that have passed, and runs that do not stop", function()
    local run, path = command.on_store()
    local clock = keel.testing.clock(os.time() - 120)
    local store = support.open(path, { clock = clock.read, monotonic = clock.read })
    local runs = support.manager(store, { lease_ttl = 30 })
    local late = assert(runs:create("a", { deadline = store:now() }))
    local leased = assert(runs:create("b"))
    local plain = support.manager(store)
    local deaf = assert(plain:create("c"))
    assert(plain:try_start(deaf.run_id))
    assert(store:request_cancel(deaf.run_id))
    local found = findings(run)
    assert.same({ late.run_id }, found.overdue.run_ids)
    assert.same({ leased.run_id }, found.expired.run_ids)
    assert.same({ deaf.run_id }, found.not_stopping.run_ids)
  end)

  it("finds work that nobody claims, but not what has to wait", function()
    local run, path = command.on_store()
    local clock = keel.testing.clock(os.time() - 3600)
    local store = support.open(path, { clock = clock.read, monotonic = clock.read })
    assert(store:put("left", { thread_id = "a", claimable = true }))
    assert(store:put("later", { thread_id = "b", claimable = true, scheduled_at = "2100-01-01T00:00:00Z" }))
    assert(store:put("just due", { thread_id = "c", claimable = true,
      scheduled_at = keel.time(-60) }))
    assert.same({ "left" }, findings(run).unclaimed.run_ids)
  end)

  describe("of what runs wait for", function()
    local run, store, manager, clock
    before_each(function()
      local path
      run, path = command.on_store()
      clock = keel.testing.clock(os.time() - 7200)
      store = support.open(path, { clock = clock.read, monotonic = clock.read })
      manager = support.manager(store)
    end)

    it("GATE-7: finds what has been paused for long, since when, why, and who waits", function()
      assert(manager:pause("gpu", { reason = "driver update" }))
      assert(manager:pause "thread:night")
      local since = store:now()
      clock.advance(100)
      assert(manager:set_limit("gpu", { reason = "driver update" })) -- paused all the same
      clock.advance(6900)
      assert(manager:pause("*"))
      assert(manager:create("t", { claimable = true, slots = { { name = "gpu", max = 1 } } }))
      local finding = findings(run).paused
      assert.same({ "thread:night", 0 }, { finding.name, finding.count }) -- the last that was found
      local text = run("doctor").output
      assert.is_truthy(text:find("gpu is paused since " .. since .. " (driver update): 1 run waits", 1, true), text)
      assert.is_truthy(text:find("resume it: runs:resume 'gpu'", 1, true))
      assert.is_nil(text:find("everything is paused", 1, true))
      assert(manager:resume "gpu")
      assert(manager:resume "thread:night")
      assert.is_nil(findings(run).paused)
      assert(store:prune { before = 60 })
      assert.is_truthy(findings(run).paused.message:find("everything is paused since before the log begins", 1, true))
    end)

    it("finds limits of 0, set or of runs' own, and who waits for them", function()
      local mine = { claimable = true, slots = { { name = "gpu", max = 4 } } }
      local one = assert(manager:create("t", mine)).run_id
      local two = assert(manager:create("u", mine)).run_id
      local never = assert(manager:create("v", { claimable = true, rates = { { name = "api", max = 0, per = 5 } } }))
      assert(manager:set_limit("gpu", { max = 0, per = 5 })) -- of a rate of this name, if there were one
      assert.is_nil(findings(run).no_place)
      assert(manager:set_limit("gpu", { max = 0, per = keel.null }))
      local found = findings(run)
      assert.same({ { one, two }, "gpu" }, { found.no_place.run_ids, found.no_place.name })
      assert.is_truthy(found.no_place.message:find("2 runs wait for 'gpu', which has no place (max 0)", 1, true))
      assert.is_truthy(found.no_place.advice:find("set_limit 'gpu'", 1, true))
      assert.same({ { never.run_id }, "api" }, { found.no_start.run_ids, found.no_start.name })
      assert.is_truthy(found.no_start.message:find("with which nothing may start", 1, true))
      assert.is_truthy(found.no_start.advice:find("they were made so", 1, true))
      assert(manager:set_limit("api", { max = 5, per = 1 }))
      assert(manager:set_limit("gpu", { max = 1 }))
      assert.same({}, { findings(run).no_place, findings(run).no_start })
    end)

    it("FAMILY-1: finds who waits, over others, for a run that does not get on, and says why", function()
      local source = assert(manager:create("t", { claimable = true, slots = { { name = "gpu", max = 0 } } })).run_id
      local middle = assert(manager:create("u", { claimable = true, after = { source } })).run_id
      local last = assert(manager:create("v", { claimable = true, after = { middle } })).run_id
      assert(manager:create("x", { claimable = true, after = { source }, scheduled_at = 6900 })) -- nor has this one
      clock.advance(7000)
      assert(manager:create("w", { claimable = true, after = { source } })) -- has not waited for long
      local finding = findings(run).stuck_source
      assert.same({ source, { middle, last } }, { finding.source, finding.run_ids })
      assert.is_truthy(finding.message:find("which waits for 'gpu', of which it never gets one", 1, true))
      assert.is_truthy(finding.advice:find("keel runs cancel " .. source, 1, true))
      assert(manager:set_limit("gpu", { max = 1 }))
      assert.is_truthy(findings(run).stuck_source.message:find("which nobody claims", 1, true))
      assert.equal(source, manager:claim_next().run_id)
      assert.is_nil(findings(run).stuck_source)
      store:close()
      assert.is_truthy(findings(run).stuck_source.message:find("which is left by a process that is gone", 1, true))
    end)
  end)

  describe("of handlers", function()
    local run, store, clock
    before_each(function()
      local path
      run, path = command.on_store()
      clock = keel.testing.clock(os.time() - 3600)
      store = support.open(path, { clock = clock.read, monotonic = clock.read })
    end)

    local function put(run_id, handler, more)
      local fields = { thread_id = run_id, claimable = true, handler = handler }
      for name, value in pairs(more or {}) do fields[name] = value end
      assert(store:put(run_id, fields))
      clock.advance(10)
    end

    local function claim(handler)
      local claimed = assert(store:claim_next { handlers = { handler } })
      clock.advance(10)
      return claimed.run_id
    end

    it("F-14: names one that nobody seems to have", function()
      local due = store:now()
      put("mail 1", "mail")
      put("mail 2", "mail")
      put("page", "pages")
      assert.is_nil(findings(run).no_handler)
      assert.equal("page", claim "pages")
      local found = findings(run)
      assert.same({ "mail", 2, { "mail 1", "mail 2" } },
        { found.no_handler.handler, found.no_handler.count, found.no_handler.run_ids })
      assert.equal(('2 runs of handler "mail" are due since %s, none of them runs: mail 1, mail 2'):format(due),
        found.no_handler.message)
      assert.is_nil(found.unclaimed)
      assert(store:update_status("page", "success"))
      assert.equal("mail", findings(run).no_handler.handler)
    end)

    it("F-14: names those of runs without one, and one run", function()
      put("one")
      put("page", "pages")
      claim "pages"
      assert.is_truthy(findings(run).no_handler.message:find('1 run of handler "default" is due since', 1, true))
    end)

    it("F-14: does not name one of which a run goes, or has been claimed since", function()
      for i = 1, 3 do put("mail " .. i, "mail") end
      put("page", "pages")
      claim "pages"
      assert.truthy(findings(run).no_handler)
      assert.equal("mail 1", claim "mail")
      local found = findings(run)
      assert.is_nil(found.no_handler)
      assert.same({ "mail 2", "mail 3" }, found.unclaimed.run_ids)
      assert(store:update_status("mail 1", "success"))
      assert.is_nil(findings(run).no_handler)
    end)

    it("F-14: does not name one whose runs stand behind what was claimed, or are not due", function()
      put("page", "pages")
      put("mail", "mail")
      put("urgent", "pages", { priority = 1 })
      put("put off", "letters", { scheduled_at = "2100-01-01T00:00:00Z" })
      claim "pages"
      claim "pages"
      assert.is_nil(findings(run).no_handler)
    end)

    it("F-14: does not name one that has only just become due, or has to wait", function()
      put("page", "pages", { scheduled_at = 3500 })
      put("first", "queued",
        { thread_id = "t", claimable = false, session_id = store:session_id(), status = "running" })
      put("second", "letters", { thread_id = "t", concurrency = 1 })
      clock.advance(3520)
      put("mail", "mail")
      put("last", "pages")
      claim "pages"
      claim "pages"
      assert.is_nil(findings(run).no_handler)
    end)
  end)

  it("finds damage #files", function()
    local run, path = command.on_store()
    local store = support.open(path)
    for i = 1, 300 do assert(store:put("r" .. i, { thread_id = "t" .. i, claimable = true })) end
    store:close()
    local text = files.read(path)
    files.write(path, text:sub(1, #text // 2) .. ("x"):rep(#text - #text // 2))
    local finding = findings(run).store_corrupt
    assert.equal("error", finding.severity)
  end)

  it("knows a file that is no store yet from one that is damaged #files", function()
    local run, path = command.on_store()
    files.write(path, "")
    local finding = findings(run).store_corrupt
    assert.equal("nothing is lost: 'keel exec' makes a store of it", finding.advice)
    assert.is_truthy(run("runs", "list").errors:find("the file is empty; 'keel exec' makes a store of it", 1, true))
    assert.equal(0, run("exec", "true").code)
    assert.is_nil(findings(run).store_corrupt)
  end)

  it("finds what breaks the invariants", function()
    local run, path = command.on_store()
    local store = support.open(path)
    assert(store:put("r", { thread_id = "t", claimable = true }))
    store:close()
    if not os.execute(("sqlite3 %s 'UPDATE live SET revision = 0' 2>/dev/null"):format(path)) then
      return pending "there is no sqlite3 to do damage with"
    end
    local text = run("doctor").output
    assert.is_truthy(text:find("a run has no fence or revision: r", 1, true), text)
    assert.is_truthy(text:find("the row of run r is damaged", 1, true), text)
  end)

  it("finds a file that others may read, but gives no advice about what is no store #files", function()
    local run, path = command.on_store()
    keel.open(path):close()
    assert(os.execute("chmod 644 " .. path))
    local finding = findings(run).permissions
    assert.equal(("unless that is meant: chmod 600 '%s'"):format(path), finding.advice)
    files.write(path .. ".txt", "not a store")
    local result = run("doctor", "--json", "--store", path .. ".txt")
    assert.equal("store_corrupt", json.decode(result.output).code)
  end)

  it("finds a store that belongs to another user #files", function()
    local run, path = command.on_store()
    keel.open(path):close()
    assert.is_nil(findings(run).owner)
    if not os.execute(("chown 1 '%s' 2>&-"):format(path)) then pending "only root may give a file away" end
    assert.is_truthy(findings(run).owner.message:find("another user (number 1)", 1, true))
  end)

  it("finds a log that has grown #files", function()
    local run, path = command.on_store()
    keel.open(path):close()
    assert(os.execute(("truncate -s 100M %s-wal"):format(path)))
    assert.is_truthy(findings(run).log_size.message:find "100.0 MiB")
  end)

  it("finds that there is hardly any room #files", function()
    local directory = support.dir()
    if not os.execute(("mount -t tmpfs -o size=8m,mode=755 tmpfs %s 2>/dev/null"):format(directory)) then
      return pending "mounting is not allowed here"
    end
    local path = directory .. "/keel.db"
    keel.open(path):close()
    local function run(...) return command.run({ "--store", path, ... }) end
    local ok, found = pcall(findings, run)
    os.execute("umount -l " .. directory)
    assert.is_true(ok, found)
    assert.is_truthy(found.space)
  end)

  it("passes on what rules have remarked, but not what is for information only #files", function()
    local run, path = command.on_store()
    local rt = assert(keel.runtime { store = support.open(path), runtime_id = "farm",
      diagnostics = {
        crowd = function()
          return { { severity = "warning", code = "crowd", message = "too many" } }
        end,
      } })
    assert(rt:create_worker())
    assert(rt:create_worker())
    local found = findings(run)
    assert.equal("runtime farm: too many (2 times)", found.crowd.message)
    found.crowd = nil
    assert.same({}, found)
  end)

  it("finds schedules that nobody works off, and those of which nobody knows when they happen next #files", function()
    local run, path = command.on_store()
    local store = support.open(path)
    local function put(name, next_at, problem)
      assert(store:put_schedule(name, { definition = { every = 60 }, last_at = keel.time(-7200),
        next_at = keel.time(next_at), period = 60, problem = problem }))
    end
    put("late", -3600)
    put("just now", -5)
    put("to come", 3600)
    local found = findings(run)
    assert.same({ "warning", "late" }, { found.schedule_overdue.severity, found.schedule_overdue.schedule })
    found.schedule_overdue = nil
    assert.same({}, found)
    put("unknown", 3600, "policy moon failed: it is not up")
    found = findings(run)
    assert.truthy(found.schedule_problem.message:find("it is not up", 1, true))
    assert.equal("unknown", found.schedule_problem.schedule)
  end)

  it("says what to do when there is nothing to look at #files", function()
    local run, path = command.on_store()
    assert.is_truthy(findings(run).store_missing.advice:find("'keel exec'", 1, true))
    local missing = json.decode(run("doctor", "--json", "--store", path .. "/x.db").output)
    assert.truthy(missing.message:find("there is no folder " .. path .. ": make it first", 1, true), missing.message)
    assert.matches("^then 'keel exec' makes one", missing.advice)
    local folder = path:match "^(.*)/"
    assert.equal("io", json.decode(run("doctor", "--json", "--store", folder).output).code)
    assert.equal(2, run("doctor", "--store", ":memory:").code)
  end)
end)
