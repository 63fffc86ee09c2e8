--- keel doctor: rules of the user's own, who has the write lock, and whose the folder and the files beside are.
local command = require "support.command"
local files = require "support.files"
local json = require("keel").json
local process = require "support.process"
local support = require "support"

-- What it finds, in order.
local function findings(run, ...)
  local result = run("doctor", "--json", ...)
  local list = {}
  for line in result.output:gmatch "[^\n]+" do list[#list + 1] = assert(json.decode(line)) end
  assert.equal(#list > 0 and 1 or 0, result.code, result.errors)
  return list
end

local function rule(text)
  local path = support.dir() .. "/mine.lua"
  files.write(path, text)
  return path
end

describe("keel doctor --rules", function()
  after_each(support.clean_up)

  it("asks rules of one's own about runs, and says what they remark and where it is seen", function()
    local run, path = command.on_store()
    local store = support.open(path)
    assert(store:put("waits", { thread_id = "t", claimable = true, metadata = { team = "red" } }))
    assert(store:put("failed", { thread_id = "u", status = "error", metadata = { team = "blue" } }))
    local mine = rule [[
      return function(snapshot)
        local found = { { severity = "info", code = "seen", message = "not told" } }
        assert(snapshot.cause == "doctor" and snapshot.now and snapshot.stats.runs == 2 and not snapshot.worker)
        for _, run in ipairs(snapshot.runs) do
          found[#found + 1] = { severity = "warning", code = "mine.waits", message = run.metadata.team .. "\27[31m",
            subject = run.run_id }
        end
        for _, run in ipairs(snapshot.ended) do
          found[#found + 1] = { severity = "error", code = "mine.failed", message = run.metadata.team,
            subject = { runtime_id = "farm", worker_id = "w" } }
        end
        found[#found + 1] = { severity = "warning", code = "mine.sessions",
          message = #snapshot.sessions .. " sessions" }
        return found
      end]]
    local found = findings(run, "--rules", mine)
    assert.same({ { severity = "warning", code = "mine.waits", rule = "mine", subject = "waits",
      message = "rule mine: red\27[31m", advice = ("'keel runs show waits' shows it; the rule is %s"):format(mine) },
      { severity = "error", code = "mine.failed", rule = "mine", subject = { runtime_id = "farm", worker_id = "w" },
        message = "rule mine: blue", advice = ("'keel workers show farm w' shows it; the rule is %s"):format(mine) },
      { severity = "warning", code = "mine.sessions", rule = "mine", message = "rule mine: 1 sessions",
        advice = "the rule is " .. mine } }, found)
    local text = run("doctor", "--rules", mine)
    assert.equal(1, text.code)
    assert.matches("warning: rule mine: red [31m\n  'keel runs show waits'", text.output, 1, true)
    assert.same({}, findings(run))
  end)

  it("takes all rules of a folder, in order, and goes on when one fails or does not end", function()
    local run, path = command.on_store()
    support.open(path):put("r", { thread_id = "t", claimable = true })
    local folder = support.dir()
    files.write(folder .. "/a.lua", "return function(s) return s.nothing.there end")
    files.write(folder .. "/b.lua", "return function() while true do end end")
    files.write(folder .. "/c.lua", "return function() return 'wrong' end")
    files.write(folder .. "/d.lua", "return function() return {{ severity = 'error', code = 'd', message = 'm' }} end")
    files.write(folder .. "/e.lua", "return function() end")
    files.write(folder .. "/README", "no rule")
    files.write(folder .. "/.hidden.lua", "no rule")
    local found = findings(run, "--rules", folder)
    assert.same({ "policy_failed", "policy_budget", "policy_failed", "d" }, support.pluck(found, "code"))
    assert.same({ "a", "b", "c", "d" }, support.pluck(found, "rule"))
    assert.equal("mend " .. folder .. "/a.lua", found[1].advice)
    assert.matches("line 1", found[1].message, 1, true)
    found = findings(run, "--rules", folder .. "/d.lua", "--rules=" .. folder .. "/e.lua", "--rules",
      folder .. "/d.lua")
    assert.same({ "d", "d" }, support.pluck(found, "code"))
  end)

  it("refuses what is no rule before it looks at anything", function()
    local run, path = command.on_store()
    support.open(path):close()
    local folder = support.dir()
    for given, text in pairs { [folder .. "/none"] = ": No such file or directory",
      [folder] = ": there is no rule in it: no file whose name ends in .lua",
      [rule "return 3"] = "policy mine cannot be used: the script must return a function",
      [rule "return os.exit"] = "policy mine cannot be used" } do
      local result = run("doctor", "--rules", given)
      assert.same({ 2, "" }, { result.code, result.output })
      assert.matches("^keel doctor: option '%-%-rules': [^\n]+\n$", result.errors)
      assert.matches(text, result.errors, 1, true)
    end
  end)

  it("shows rules a bounded picture, and says what is not whole", function()
    local run, path = command.on_store()
    local store = support.open(path)
    assert(store:transaction(function(tx)
      for i = 1, 1001 do
        assert(tx:put("w" .. i, { thread_id = "t" .. i, claimable = true }))
        assert(tx:put("e" .. i, { thread_id = "t", status = "success", metadata = { long = ("x"):rep(2000) } }))
      end
      return true
    end))
    local mine = rule [[
      return function(snapshot)
        local first, newest, more = snapshot.runs[1], snapshot.ended[1], snapshot.has_more
        return { { severity = "warning", code = "m", message = table.concat({ #snapshot.runs, #snapshot.ended,
          first.run_id, newest.run_id, tostring(newest.metadata), tostring(more.runs), tostring(more.ended),
          tostring(more.sessions) }, " ") } }
      end]]
    assert.equal("rule mine: 1000 1000 w1 e1001 nil true true nil", findings(run, "--rules", mine)[1].message)
  end)
end)

describe("keel doctor [#files]", function()
  after_each(support.clean_up)

  it("names the process that has the write lock and writes nothing, and none that is about to be done", function()
    local run, path = command.on_store()
    local child = process.spawn(support.dir(), [[
      local store = assert(require("keel").open(arg[1]))
      local tx = assert(store:begin())
      print "has it"
      io.stdout:flush()
      io.read()
      tx:rollback()
      print "has given it up"
      io.stdout:flush()
      io.read()
    ]], { path })
    child:expect "has it"
    local found = findings(run)
    assert.same({ "write_lock" }, support.pluck(found, "code"))
    assert.equal(child.pid, found[1].pid)
    assert.is_true(found[1].seconds >= 1)
    assert.matches(("^process %d %%(.*lua.*%%) has had the write lock, and written nothing, for at least 1%%.%%ds")
      :format(child.pid), found[1].message)
    assert.matches("kill " .. child.pid, found[1].advice, 1, true)
    child.handle:kill "sigstop"
    assert.matches("; it is stopped: nobody else can change anything", findings(run)[1].message, 1, true)
    assert.matches("kill -CONT " .. child.pid, findings(run)[1].advice, 1, true)
    child.handle:kill "sigcont"
    child:say "on"
    child:expect "has given it up"
    assert.same({}, findings(run))
  end)

  it("does not take a process that writes all the time for one that keeps others from writing", function()
    local run, path = command.on_store()
    local child = process.spawn(support.dir(), [[
      local keel = require "keel"
      local store, uv = assert(keel.open(arg[1], { durability = "off" })), require "luv"
      print "writes"
      io.stdout:flush()
      while true do
        local tx = store:begin()
        tx:append_event { kind = "k" }
        uv.sleep(5)
        tx:commit()
      end
    ]], { path })
    child:expect "writes"
    assert.same({ 0, "" }, { run("doctor", "--json").code, run("doctor", "--json").output })
    child:kill()
  end)

  it("says when others may take the store away, or use what is beside it", function()
    local run, path = command.on_store()
    local store = support.open(path)
    assert(store:put("r", { thread_id = "t", claimable = true }))
    local folder = path:match "^(.*)/"
    assert(os.execute(("chmod 777 '%s' && chmod 640 '%s-wal' && chmod 640 '%s-shm'"):format(folder, path, path)))
    local found = findings(run)
    assert.same({ "beside", "beside", "folder" }, support.pluck(found, "code"))
    assert.equal(("as for the store: chmod 600 '%s-wal'"):format(path), found[1].advice)
    assert.equal(("unless that is meant: chmod go-w '%s'"):format(folder), found[3].advice)
    assert(os.execute(("chmod 1777 '%s' && chmod 640 '%s'"):format(folder, path)))
    assert.same({ ("others than its owner may use %s (mode 640)"):format(path) },
      support.pluck(findings(run), "message"))
    assert(os.execute(("chmod 755 '%s' && chmod 600 '%s'*"):format(folder, path)))
    assert.same({}, findings(run))
  end)

  it("says when a folder or a file beside is somebody else's", function()
    if not os.execute "test -w /" then return pending "only root can give files away" end
    local run, path = command.on_store()
    local store = support.open(path)
    assert(store:put("r", { thread_id = "t", claimable = true }))
    local folder = path:match "^(.*)/"
    assert(os.execute(("chown 65534 '%s'"):format(folder)))
    local found = findings(run)
    assert.same({ "folder" }, support.pluck(found, "code"))
    assert.equal(("unless that is meant, move the store, or: chown 0 '%s'"):format(folder), found[1].advice)
    assert(os.execute(("chown 65534 '%s'*"):format(path)))
    assert(os.execute(("chown 0 '%s' '%s-wake'"):format(folder, path)))
    found = findings(run)
    assert.same({ "owner", "beside" }, support.pluck(found, "code"))
    assert.equal(("as root: chown 65534 '%s-wake'"):format(path), found[2].advice)
    assert(os.execute(("chown 0 '%s'; chown 65534 '%s-wal'; chown 0 '%s-sessions'"):format(path, path, path)))
    found = findings(run)
    assert.same({ "io" }, support.pluck(found, "code"))
    assert.equal(("as root: chown 0 '%s-wal'"):format(path), found[1].advice)
  end)
end)
