--- Policies from files in a manager: what they see and decide, what happens when they fail, and edits while it runs.
local keel = require "keel"
local lfs = require "lfs"
local files = require "support.files"
local support = require "support"

-- Writes a policy's file; gives its path.
local function write(source, name)
  local path = support.dir() .. "/" .. (name or "quota.lua")
  files.write(path, source)
  return path
end

local function load_policy(source, options)
  local path = write(source)
  return assert(keel.load_policy(path, options)), path
end

local ADMIT = "return function() return { admit = true } end"
local REFUSE = "return function() return { admit = false, reason = 'full' } end"

-- What the event of a run's making says.
local function created(store, run)
  local data
  for _, event in ipairs(support.events(store, { run_id = run.run_id, kinds = { "run_created" } })) do
    data = event.data
  end
  return data
end

support.each_store(function(open)
  describe("POLICY-2: a loaded strategy", function()
    local store, manager
    before_each(function() store, manager = support.managed(open) end)

    it("works where a function does, and its name and version are in the event", function()
      local policy = load_policy(
        "return function(request, inflight) return { admit = true, cancel = inflight, action = 'rollback' } end")
      local one = assert(manager:create("t", { metadata = { k = { "v" } } }))
      local two = assert(manager:create_or_reject("t", { multitask_strategy = policy }))
      assert.same({ "interrupted", "rollback", "quota" }, { one.status, one.abort_action, two.multitask_strategy })
      assert.same({ "quota", policy:version() },
        { created(store, two).strategy, created(store, two).strategy_version })
    end)

    it("refuses with its reason, and names no run when there is none", function()
      local _, err = manager:create_or_reject("t", { multitask_strategy = load_policy(REFUSE) })
      assert.same({ "conflict: thread t takes no run now: full" }, { tostring(err), err.run_id })
    end)

    it("goes by the name the manager gives it", function()
      local policy = load_policy(ADMIT)
      manager = support.manager(store, { strategies = { mine = policy } })
      local run = assert(manager:create_or_reject("t", { multitask_strategy = "mine" }))
      assert.same({ "mine", "mine", policy:version() },
        { run.multitask_strategy, created(store, run).strategy, created(store, run).strategy_version })
    end)

    it("sees the same snapshot: request, options, 256 runs and the exact count", function()
      local session = assert(store:session_id())
      assert(store:transaction(function(tx)
        for i = 1, 300 do
          assert(tx:put("r" .. i, { thread_id = "t", session_id = session, metadata = { n = i },
            kwargs = { a = "b" } }))
        end
        return true
      end))
      local policy = load_policy [[
        return function(request, inflight)
          assert(request.thread_id == "t" and request.options.max == 7 and request.metadata.list[2] == "b")
          assert(request.inflight_count == 300 and #inflight == 256)
          assert(inflight[256].run_id == "r256" and inflight[256].metadata.n == 256)
          return { admit = true, cancel = inflight, reason = request.now }
        end]]
      local run = assert(manager:create_or_reject("t", { multitask_strategy = policy, strategy_options = { max = 7 },
        metadata = { list = { "a", "b" } } }))
      assert.equal("interrupted", store:get("r256").status)
      assert.equal("pending", store:get("r257").status)
      assert.is_string(created(store, run).reason)
    end)

    it("is what dry_run asks, too", function()
      local policy = load_policy(REFUSE)
      local answer = assert(manager:dry_run("t", { multitask_strategy = policy }))
      assert.same({ "refused", "full", "quota", policy:version() },
        { answer.verdict, answer.reason, answer.strategy, answer.strategy_version })
    end)
  end)

  describe("POLICY-8: a loaded strategy that fails", function()
    -- what -> { the script, the code, fields of the error }
    local FAILING = {
      ["raises"] = { "return function()\n local x\n return x.y\nend", "policy_failed", { line = 3 } },
      ["loops"] = { "return function()\n while true do end\nend", "policy_budget",
        { limit = "instructions", line = 2 } },
      ["allocates"] = { "return function()\n local t while true do t = { t } end\nend", "policy_budget",
        { limit = "bytes", line = 2 } },
      ["asks for more than a mebibyte at once"] = { "return function() (''):rep(1 << 21, 'x') end", "policy_budget",
        { limit = "bytes", line = 1, reason = "it needed more than 1 MiB for one text, one table or its stack" } },
      ["hangs in a pattern"] = { "return function() (('a'):rep(400)):find(('a*'):rep(30) .. 'b') end", "policy_budget",
        { limit = "instructions", line = 1 } },
      ["returns nothing"] = { "return function() end", "policy_failed", {} },
      ["returns nonsense"] = { "return function() return { admit = true, concurrency = 0 } end", "policy_failed", {} },
      ["returns a function"] = { "return function() return { admit = pcall } end", "policy_failed", {} },
      ["names a run it was not shown"] = { "return function() return { admit = true, cancel = { 'x' } } end",
        "policy_failed", {} },
    }
    for what, case in pairs(FAILING) do
      it(what .. " is " .. case[2] .. " with name, reason and line, and nothing changed", function()
        local store = open { durability = "off" }
        local manager = support.manager(store,
          { policy_budget = { instructions = 500000, seconds = 20, bytes = 1 << 20 } })
        local run = assert(manager:create "t")
        local events = #support.events(store)
        local err = support.refused(case[2],
          manager:create_or_reject("t", { multitask_strategy = load_policy(case[1]) }))
        assert.same({ "quota", case[3].line, case[3].limit, "string" },
          { err.policy, err.line, err.limit, type(err.reason) })
        assert.equal(case[3].reason or err.reason, err.reason)
        if err.line then assert.matches(("policy quota [%%w ]+, line %d: "):format(err.line), err.message) end
        assert.same({ "pending", events, 1 }, { run.status, #support.events(store), #store:list_by_thread "t" })
        assert.same({}, assert(store:verify()))
        assert(manager:create_or_reject("t", { multitask_strategy = "allow" }))
      end)
    end
  end)

  describe("A fallback strategy", function()
    local BROKEN = "return function() error 'no idea' end"
    local store
    before_each(function() store = open { durability = "off" } end)

    it("decides in the place of one that failed, is logged, and the event names both", function()
      local log, lines = support.log()
      local manager = support.manager(store, { fallback_strategy = "enqueue", log = log })
      local policy = load_policy(BROKEN)
      local run = assert(manager:create_or_reject("t", { multitask_strategy = policy }))
      assert.same({ "quota", 1 }, { run.multitask_strategy, run.concurrency })
      local data = created(store, run)
      assert.equal("enqueue", data.strategy)
      assert.same({ strategy = "quota", strategy_version = policy:version(), code = "policy_failed", line = 1,
        reason = "no idea" }, data.fallback_for)
      local answer = assert(manager:dry_run("t", { multitask_strategy = policy }))
      assert.same({ "created", "enqueue", data.fallback_for }, { answer.verdict, answer.strategy, answer.fallback_for })
      assert.same({ "warn", "quota", "enqueue" },
        { lines[1].level, lines[1].fields.strategy, lines[1].fields.fallback })
    end)

    it("decides also when what the strategy said is no text that could be stored", function()
      local manager = support.manager(store, { fallback_strategy = "allow", log = support.log() })
      local long = "x" .. ("\u{e9}"):rep(400) -- cut, and not in the middle of a character
      for said, kept in pairs { ["\xffa\xe9"] = "?a?", [long] = long:sub(1, 499) } do
        local source = ("return function() error(%q) end"):format(said)
        local run = assert(manager:create_or_reject("t", { multitask_strategy = load_policy(source) }))
        assert.equal(kept, created(store, run).fallback_for.reason)
        assert(manager:create_or_reject("t", { multitask_strategy = function() error(said, 0) end }))
      end
    end)

    it("decides for functions of the host that fail, too, and sees none of what they spoilt", function()
      local seen
      local manager = support.manager(store, {
        fallback_strategy = function(_, inflight)
          seen = inflight[1].status
          return { admit = false, reason = "fallback" }
        end,
      })
      assert(manager:create "t")
      local err = support.refused("conflict", manager:create_or_reject("t", { multitask_strategy = function(_, inflight)
        inflight[1].status = "spoilt"
        error "after all"
      end }))
      assert.same({ "fallback", "pending" }, { err.reason, seen })
    end)

    it("may be a loaded one, or one the manager was given", function()
      for _, fallback in ipairs { load_policy(REFUSE), "mine" } do
        local manager = support.manager(store, { fallback_strategy = fallback,
          strategies = { mine = load_policy(REFUSE) } })
        local err = support.refused("conflict",
          manager:create_or_reject("t", { multitask_strategy = load_policy(BROKEN) }))
        assert.equal("full", err.reason)
      end
    end)

    it("that fails as well leaves the error of the first, and nothing changed", function()
      local log, lines = support.log()
      local manager = support.manager(store, { fallback_strategy = load_policy(BROKEN), log = log })
      local err = support.refused("policy_budget",
        manager:create_or_reject("t", { multitask_strategy = function() while true do end end }))
      assert.equal("custom", err.policy)
      assert.same({ "warn", "error" }, support.pluck(lines, "level"))
      assert.equal(0, #support.events(store))
    end)

    it("is not asked when nothing failed, nor when the strategy refuses", function()
      local manager = support.manager(store, { fallback_strategy = function() error "asked" end })
      assert(manager:create_or_reject "t")
      support.refused("conflict", manager:create_or_reject "t")
    end)

    it("that is unknown is refused when the manager is made", function()
      support.refused("unsupported_strategy", keel.run_manager { store = store, fallback_strategy = "nobody" })
      assert.is_false(pcall(keel.run_manager, { store = store, fallback_strategy = 1 }))
    end)
  end)

  describe("POLICY-10: an edit of a loaded policy", function()
    local store, manager, log, lines, policy, path
    before_each(function()
      store = open { durability = "off" }
      log, lines = support.log()
      manager = support.manager(store, { log = log })
      policy, path = load_policy(ADMIT, { reload = true })
    end)

    local function decide()
      return manager:create_or_reject("t", { multitask_strategy = policy })
    end

    it("is picked up at the next decision", function()
      local first = assert(decide())
      local before = policy:version()
      files.write(path, REFUSE)
      assert.equal("full", support.refused("conflict", decide()).reason)
      assert.not_equal(before, policy:version())
      assert.equal(before, created(store, first).strategy_version)
      assert.same({ "info" }, support.pluck(lines, "level"))
    end)

    it("of the same length within the same tick of the clock is picked up, too", function()
      for i = 1, 20 do
        files.write(path, ("return function() return { admit = false, reason = '%02d' } end"):format(i))
        assert.equal(("%02d"):format(i), support.refused("conflict", decide()).reason)
      end
    end)

    it("that leaves the stamp as it was is picked up while the file is young; later it is not read", function()
      local kernel = require "keel.kernel"
      local stamp, read, old, reads = kernel.script_stamp, kernel.script_read, false, 0
      finally(function() kernel.script_stamp, kernel.script_read = stamp, read end)
      kernel.script_stamp = function() return "the same" end
      kernel.script_read = function(...)
        reads = reads + 1
        return read(...), "the same", old
      end
      assert(decide())
      files.write(path, REFUSE)
      support.refused("conflict", decide())
      old = true
      for _ = 1, 3 do support.refused("conflict", decide()) end
      assert.equal(3, reads)
    end)

    it("is picked up when the file was replaced by another one", function()
      local other = write(REFUSE)
      assert(os.rename(other, path))
      support.refused("conflict", decide())
    end)

    -- what -> { the text, the line, words of the message }
    local BROKEN = {
      ["that is no Lua"] = { "return function()\n return {", 2, "expected" },
      ["that is empty"] = { "", nil, "must return a function" },
      ["that returns no function"] = { "return {}", nil, "must return a function" },
      ["that raises while it is loaded"] = { "\n\nerror 'no idea'", 3, "no idea" },
      ["that loops while it is loaded"] = { "while true do end", 1, "budget" },
      ["that is too long"] = { ("-"):rep(20000), nil, "16 KiB" },
      ["that is bytecode"] = { string.dump(function() end), nil, "bytecode" },
    }
    for what, case in pairs(BROKEN) do
      it(what .. " leaves the last good version in use, and says so once", function()
        local before = policy:version()
        files.write(path, case[1])
        for _ = 1, 3 do
          local run = assert(decide())
          assert.equal(before, created(store, run).strategy_version)
        end
        assert.equal(1, #lines)
        local line = lines[1]
        assert.same({ "warn", "quota", path, case[2], before },
          { line.level, line.fields.policy, line.fields.path, line.fields.line, line.fields.version })
        assert.truthy(line.fields.error:find(case[3], 1, true), line.fields.error)
        local diagnostic = policy:diagnostics()[1]
        assert.same({ "warning", path, case[2] }, { diagnostic.severity, diagnostic.subject, diagnostic.line })
        assert.truthy(diagnostic.message:find(case[3], 1, true))

        files.write(path, REFUSE)
        support.refused("conflict", decide())
        assert.same({}, policy:diagnostics())
      end)
    end

    it("that takes the file away leaves the last good version in use; it may come back", function()
      assert(os.remove(path))
      assert(decide())
      assert.matches("cannot be read", policy:diagnostics()[1].message)
      assert(decide())
      assert.equal(1, #lines)
      files.write(path, ADMIT)
      assert(decide())
      assert.same({}, policy:diagnostics())
    end)

    it("that puts a folder in its place does not, either", function()
      assert(os.remove(path))
      assert(lfs.mkdir(path))
      assert(decide())
      assert.matches("not a regular file", policy:diagnostics()[1].message)
      assert(lfs.rmdir(path))
    end)

    it("that could not be loaded for want of time or memory is tried again, the former three times", function()
      local kernel = require "keel.kernel"
      local sandbox, read, calls, answer = kernel.sandbox, kernel.script_read, 0, { false, "budget", "seconds" }
      finally(function() kernel.sandbox, kernel.script_read = sandbox, read end)
      kernel.sandbox = function()
        calls = calls + 1
        return { check = function() return table.unpack(answer) end }
      end
      -- As if the file had been there for a while: the same stamp means the same text.
      kernel.script_read = function(...)
        local source, stamp = read(...)
        return source, stamp, true
      end
      files.write(path, REFUSE)
      for _ = 1, 5 do assert(decide()) end
      assert.equal(3, calls)
      assert.equal(1, #lines)
      files.write(path, ADMIT .. " -- another text")
      for _ = 1, 5 do assert(decide()) end
      assert.equal(6, calls)
      answer = { false, "memory" }
      files.write(path, REFUSE .. " --")
      for _ = 1, 5 do assert(decide()) end
      assert.equal(11, calls)
      kernel.sandbox = sandbox
      support.refused("conflict", decide())
      assert.same({}, policy:diagnostics())
    end)

    it("is not looked for without reload", function()
      policy, path = load_policy(ADMIT)
      files.write(path, REFUSE)
      assert(decide())
    end)

    it("is seen by a manager that knows the policy by name, and reconciles with it", function()
      files.write(path, "return function() return { status = 'error', error = 'first' } end")
      manager = support.manager(store, { reconcilers = { mine = policy }, log = log })
      local function reconcile(id)
        assert(store:put(id, { thread_id = id }))
        return assert(manager:reconcile_orphaned_inflight_runs { reconciler = "mine" })[1].error
      end
      assert.equal("first", reconcile "a")
      files.write(path, "return function(run) return { status = 'error', error = 'second ' .. run.run_id } end")
      assert.equal("second b", reconcile "b")
    end)

    it("is picked up by what recovers the runs in its way: a start, a reservation", function()
      local source = "return function() return { status = 'error', error = '%s' } end"
      files.write(path, (source:format "first"))
      manager = support.manager(store, { reconcilers = { mine = policy } })
      assert(store:put("a", { thread_id = "t", reconciler = "mine" }))
      assert(store:put("b", { thread_id = "t", session_id = store:session_id(), waits_for = { "a" } }))
      files.write(path, (source:format "second"))
      assert.equal("started", manager:try_start "b")
      assert.equal("second", store:get("a").error)
      assert(store:put("c", { thread_id = "u", reconciler = "mine" }))
      files.write(path, (source:format "third!"))
      assert(manager:reserve("u", "delete", function() return true end))
      assert.equal("third!", store:get("c").error)
    end)

    it("is read outside the transaction", function()
      local reading, inside, seen = require("keel.kernel").script_read, false, {}
      local kernel = require "keel.kernel"
      kernel.script_read = function(...)
        seen[#seen + 1] = inside
        return reading(...)
      end
      local wrapped = support.wrap(store, {
        begin = function(original, ...)
          inside = true
          return original(...)
        end,
      })
      local ok, err = pcall(function()
        local other = support.manager(wrapped)
        files.write(path, REFUSE)
        support.refused("conflict", other:create_or_reject("t", { multitask_strategy = policy }))
      end)
      kernel.script_read = reading
      assert(ok, err)
      assert.is_true(inside)
      assert.same({ false }, seen)
    end)
  end)

  describe("A loaded reconciler", function()
    it("decides, by itself and by name", function()
      local store = open { durability = "off" }
      local policy = load_policy [[
        return function(run, context)
          if run.losses < 2 then return { requeue = true } end
          return { status = "error", error = context.error or context.cause }
        end]]
      local manager = support.manager(store, { reconcilers = { mine = policy } })
      assert(store:put("a", { thread_id = "t" }))
      assert(store:put("b", { thread_id = "u", losses = 2, reconciler = "mine" }))
      local runs = assert(manager:reconcile_orphaned_inflight_runs { reconciler = policy })
      assert.same({ "pending", "error" }, support.pluck(runs, "status"))
      assert.equal("owner", runs[2].error)
    end)

    it("that fails leaves its run as it is, and the error says where", function()
      local store = open { durability = "off" }
      local policy = load_policy "return function(run)\n return run.nobody.knows\nend"
      assert(store:put("a", { thread_id = "t" }))
      local runs, err = support.manager(store):reconcile_orphaned_inflight_runs { reconciler = policy }
      assert.same({}, runs)
      assert.same({ "policy_failed", "quota", 2 }, { err.code, err.policy, err.line })
      assert.is_nil(store:get("a").error)
    end)
  end)
end)

describe("keel.load_policy", function()
  after_each(support.clean_up)

  it("raises for misuse", function()
    support.raises("load_policy", keel.load_policy, 1)
    support.raises("unknown option", keel.load_policy, "x", { watch = true })
    support.raises("reload", keel.load_policy, "x", { reload = 1 })
  end)

  it("fails with policy_failed for what it cannot read, without opening what is no file", function()
    local folder = support.dir()
    for path, words in pairs { [folder .. "/none.lua"] = "No such file", [folder] = "not a regular file",
      ["/dev/zero"] = "not a regular file", ["a\0b"] = "zero byte" } do
      local err = support.refused("policy_failed", keel.load_policy(path))
      assert.truthy(err.reason:find(words, 1, true), err.reason)
    end
  end)

  it("reads what editors write: a byte order mark, a line for the shell, CRLF", function()
    local mark = "\239\187\191"
    for _, source in ipairs { mark .. ADMIT, "#!/usr/bin/env lua\n" .. ADMIT, mark .. "#!lua\r\n" .. ADMIT,
      "return function()\r\n  return { admit = true }\r\nend\r\n" } do
      assert.same({ admit = true }, (require("keel.testing").decide(write(source))))
    end
    for _, source in ipairs { mark .. "\n\nnonsense(", "#!lua\n\nnonsense(", "\r\n\r\nnonsense(" } do
      local policy, err = keel.load_policy(write(source))
      assert.is_nil(policy)
      assert.equal(3, err.line)
    end
    local policy, err = keel.load_policy(write(mark .. string.dump(function() end)))
    assert.is_nil(policy)
    assert.matches("bytecode", err.reason)
    assert.is_nil((keel.load_policy(write("#!lua\n" .. string.dump(function() end)))))
  end)

  it("fails with the script's line, and a budget", function()
    local err = support.refused("policy_failed", keel.load_policy(write "return function()\n x x\nend"))
    assert.same({ "quota", 2 }, { err.policy, err.line })
    err = support.refused("policy_failed", keel.load_policy(write "#!lua\nreturn function()\n-- _ENV\nend"))
    assert.same({ 3, "the script names _ENV" }, { err.line, err.reason })
    err = support.refused("policy_budget", keel.load_policy(write "while true do end"))
    assert.same({ "quota", "instructions", 1 }, { err.policy, err.limit, err.line })
  end)

  it("never opens a store: closing it by hand would drop the process's locks", function()
    local path = support.path()
    local store = support.open(path)
    assert(store:put("a", { thread_id = "t" }))
    support.refused("policy_failed", keel.load_policy(path))
    assert.is_true(store:session_alive(store:session_id()))
  end)

  it("names a policy by its file, as far as that can be a name", function()
    for file, name in pairs { ["a.lua"] = "a", ["a"] = "a", ["a.b.lua"] = "a.b", ["ä.lua"] = "ä", ["\255.lua"] = "?",
      ["a\nb.lua"] = "a?b", ["a\u{85}b.lua"] = "a?b", [("x"):rep(100) .. ".lua"] = ("x"):rep(64) } do
      assert.equal(name, assert(keel.load_policy(write(ADMIT, file))):name())
    end
  end)

  it("gives an object that is no table of the user's: an impostor is refused", function()
    local manager = keel.run_manager { store = ":memory:" }
    support.raises("multitask_strategy", manager.create_or_reject, manager, "t", { multitask_strategy = {} })
    support.raises("strategies", keel.run_manager, { strategies = { a = {} } })
    assert.matches("^keel.policy: quota ", tostring(load_policy(ADMIT)))
  end)
end)
