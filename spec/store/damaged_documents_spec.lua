local json = require("keel").json
local command = require "support.command"
local keel = require "keel"
local support = require "support"

-- Changes a closed or open store past the library; false when there is no sqlite3 to do it with.
local function damage(path, sql)
  return os.execute(("sqlite3 '%s' %q 2>/dev/null"):format(path, sql)) and true or false
end

describe("A damaged document", function()
  after_each(support.clean_up)

  -- A store with three runs of a thread, of which the second has such metadata; and what its log was told.
  local function with_damaged_run(sql, fields)
    local path = support.path()
    local log, lines = support.log()
    local store = support.open(path, { log = log })
    for i = 1, 3 do
      local given = { thread_id = "t", metadata = { number = i }, kwargs = { n = i }, claimable = true }
      for name, value in pairs(fields or {}) do given[name] = value end
      assert(store:put("r" .. i, given))
    end
    if not damage(path, sql or "UPDATE runs SET metadata = 'nope' WHERE run_id = 'r2'") then
      pending "there is no sqlite3 to do damage with"
    end
    return store, lines, path
  end

  local function told(lines, words)
    local count = 0
    for _, line in ipairs(lines) do
      if line.message:find(words, 1, true) then count = count + 1 end
      assert.equal("error", line.level)
    end
    return count
  end

  it("F-6: does not stop a reader of runs: the field is missing, and the log is told once", function()
    local store, lines = with_damaged_run()
    for _ = 1, 2 do
      for _, method in ipairs { "list_by_thread", "list_inflight", "list_runs" } do
        local runs = assert(store[method](store, method == "list_by_thread" and "t" or {}))
        assert.equal(3, #runs)
        for _, run in ipairs(runs) do
          local number = tonumber(run.run_id:sub(2))
          assert.same(number ~= 2 and { number = number } or nil, run.metadata)
          assert.same({ n = number }, run.kwargs)
        end
      end
      assert.is_nil(assert(store:get "r2").metadata)
    end
    assert.equal(1, told(lines, "the metadata of run r2 is damaged and left out"))
    assert.equal(1, #lines)
  end)

  it("F-6: does not stop a reader of the log, whose cursor gets past", function()
    local store, lines, path = with_damaged_run "UPDATE events SET data = '{\"delay\":1,000000}' WHERE id = 2"
    local page = assert(store:read_events())
    assert.equal(3, #page.events)
    assert.is_nil(page.events[2].data)
    assert.equal(4, page.cursor.next_event_id)
    assert.equal(1, told(lines, "the data of event 2 is damaged and left out"))
    damage(path, "UPDATE events SET worker_ref = 'x' WHERE id = 3")
    assert.is_nil(assert(store:read_events(nil, 3)).events[3].worker_ref)
    assert.equal(1, told(lines, "the worker_ref of event 3"))
  end)

  it("F-6: does not stop admission, cancelling, starting or claiming", function()
    local store = with_damaged_run "UPDATE runs SET metadata = 'nope', kwargs = '{', worker_ref = ']'"
    local runs = support.manager(store)
    local seen = {}
    local run = assert(runs:create_or_reject("t", { multitask_strategy = function(_, inflight)
      for _, one in ipairs(inflight) do seen[#seen + 1] = tostring(one.metadata) .. tostring(one.kwargs) end
      return { admit = true, concurrency = 1 }
    end }))
    assert.same({ "nilnil", "nilnil", "nilnil" }, seen)
    assert.is_true(runs:cancel(run.run_id))
    local claimed = assert(runs:claim_next())
    assert.equal("r1", claimed.run_id)
    assert(runs:set_status("r1", "success"))
    assert.equal("r2", assert(runs:claim_next()).run_id)
  end)

  it("F-6: does not stop recovery", function()
    local store, _, path = with_damaged_run(nil, { claimable = false, status = "running" })
    damage(path, "UPDATE live SET session_id = 0; UPDATE runs SET kwargs = 'x'")
    local runs = support.manager(store)
    local recovered = assert(runs:reconcile_orphaned_inflight_runs { error = "gone" })
    assert.equal(3, #recovered)
  end)

  it("F-6: does not stop an executor, which runs what is sound and what is not", function()
    local store = with_damaged_run "UPDATE runs SET kwargs = 'nope' WHERE run_id = 'r2'"
    local ran = {}
    local executor = keel.executor { manager = support.manager(store), handlers = function(context)
      ran[#ran + 1] = context.run.run_id .. (context.run.kwargs and "" or " without kwargs")
    end }
    for _ = 1, 3 do executor:drain() end
    executor:stop()
    table.sort(ran)
    assert.same({ "r1", "r2 without kwargs", "r3" }, ran)
  end)

  it("F-6: does not stop readers of workers", function()
    local path = support.path()
    local log, lines = support.log()
    local store = support.open(path, { log = log })
    local runtime = assert(keel.runtime { store = store, runtime_id = "rt" })
    local ids = {}
    for i = 1, 3 do ids[i] = assert(runtime:create_worker {}).worker_id end
    local change = ("UPDATE workers SET intent = '{bad', mount_refs = 'x' WHERE worker_id = '%s'"):format(ids[2])
    if not damage(path, change) then
      return pending "there is no sqlite3 to do damage with"
    end
    local workers = assert(store:list_workers "rt")
    assert.equal(3, #workers)
    assert.is_nil(workers[2].intent)
    assert.equal("assistant", workers[3].intent.kind)
    local one = assert(store:get_worker("rt", { runtime_id = "rt", worker_id = ids[2] }))
    assert.is_nil(one.mount_refs)
    assert.equal(1, told(lines, "the intent of worker " .. ids[2]))
    assert.equal(1, told(lines, "the mount_refs of worker " .. ids[2]))
  end)

  it("F-6: is told to the manager's log when the store has none", function()
    local store, _, path = with_damaged_run()
    store:close()
    local log, lines = support.log()
    local runs = support.manager(support.open(path), { log = log })
    assert.is_nil(assert(runs:get "r2").metadata)
    assert.equal(1, told(lines, "the metadata of run r2"))
  end)

  it("F-6: is told once for each handle; a log that raises does no harm", function()
    local _, _, path = with_damaged_run()
    local store = support.open(path, { log = function() error "the log is broken" end })
    assert.equal(3, #assert(store:list_by_thread "t"))
    assert(store:transaction(function(tx)
      assert.is_nil(assert(tx:get "r2").metadata)
      return true
    end))
  end)

  it("F-6: is named by verify and by doctor, and the command says what it leaves out", function()
    local store, _, path = with_damaged_run()
    store:close()
    local problems = assert(support.open(path):verify())
    assert.equal(1, #problems)
    assert.equal("the metadata is not valid JSON: run: r2", problems[1].message)
    local doctor = command.run({ "--store", path, "doctor", "--json" })
    local found
    for line in doctor.output:gmatch "[^\n]+" do
      local finding = json.decode(line)
      if finding and finding.code == "store_corrupt" then found = finding.message end
    end
    assert.is_truthy(found and found:find("the metadata is not valid JSON: run: r2", 1, true), doctor.output)
    local listed = command.run { "--store", path, "runs", "list", "--json" }
    assert.equal(0, listed.code)
    assert.is_truthy(listed.errors:find("the metadata of run r2 is damaged and left out", 1, true), listed.errors)
    local events = command.run { "--store", path, "events", "--all" }
    assert.equal(0, events.code)
  end)
end)
