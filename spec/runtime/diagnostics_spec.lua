--- Diagnostics: the built-in rules as pure functions, and a runtime's rules at work.
local keel = require "keel"
local runtimes = require "support.runtime"
local support = require "support"

describe("The built-in rules", function()
  local local_resources = require "keel.diagnostics.runtime.local_default_resources"
  local tools_less = require "keel.diagnostics.worker.tools_less"
  local ref = { runtime_id = "rt", worker_id = "w" }

  local function noticed(rule, worker, cause)
    worker.worker_ref = ref
    worker.requested_capabilities = worker.requested_capabilities or {}
    return support.pluck(rule { cause = cause or "worker_created", worker = worker, runtime = {} }, "code")
  end

  it("WORKER-3: speak of workers without a bundle, and of those without capabilities", function()
    assert.same({ "runtime.local_default_resources" }, noticed(local_resources, {}))
    assert.same({}, noticed(local_resources, { config_bundle = { id = "b" } }))
    assert.same({ "worker.tools_less" }, noticed(tools_less, {}))
    assert.same({}, noticed(tools_less, { requested_capabilities = { { name = "shell" } } }))
  end)

  it("speak when a worker is made, and at no other time", function()
    for _, rule in ipairs { local_resources, tools_less } do
      assert.same({}, noticed(rule, {}, "worker_stopped"))
    end
  end)
end)

support.each_store(function(open)
  local store

  before_each(function() store = open() end)

  local function shown(runtime)
    local list = {}
    for i, diagnostic in ipairs(assert(runtime:diagnostics())) do
      list[i] = ("%d %s %s %d"):format(diagnostic.id, diagnostic.severity, diagnostic.code, diagnostic.count)
    end
    return list
  end

  it("WORKER-3: a worker with neither bundle nor capabilities leaves exactly two, in this order", function()
    local runtime = runtimes.open(store)
    local first = assert(runtime:create_worker()).worker_ref
    local list = assert(runtime:diagnostics())
    assert.same({ "1 info runtime.local_default_resources 1", "2 info worker.tools_less 1" }, shown(runtime))
    for _, diagnostic in ipairs(list) do
      assert.same(first, diagnostic.subject)
      assert.is_string(diagnostic.message)
    end
    assert.equal(2, runtime:summary().diagnostic_count)
    runtimes.worker(runtime)
    assert.equal(2, #assert(runtime:diagnostics()))
    local second = assert(runtime:create_worker()).worker_ref
    list = assert(runtime:diagnostics())
    assert.equal(4, #list)
    assert.same(second, list[4].subject)
    assert.same({ list[3] }, runtime:diagnostics { after = 2, limit = 1 })
    support.invalid("limit", runtime:diagnostics { limit = 0 })
    support.refused("limit_too_large", runtime:diagnostics { limit = 1001 })
  end)

  it("WORKER-3: the same one for the same subject is counted, not repeated", function()
    local runtime = runtimes.open(store, {
      diagnostics = {
        crowd = function(snapshot)
          local count = snapshot.runtime.active_worker_count
          if count < 2 then return end
          return { { severity = "warning", code = "crowd", message = count .. " workers are active" },
            { severity = "error", code = "crowd", message = "seen", subject = "run-1" } }
        end,
      },
    })
    for _ = 1, 4 do runtimes.worker(runtime) end
    assert.same({ "1 warning crowd 3", "2 error crowd 3" }, shown(runtime))
    local list = assert(runtime:diagnostics())
    assert.equal("4 workers are active", list[1].message)
    assert.is_nil(list[1].subject)
    assert.equal("run-1", list[2].subject)
    assert.equal(2, runtime:summary().diagnostic_count)
    assert.same({}, store:verify())
  end)

  it("a rule of one's own sees every change, in its transaction, with what it is about", function()
    local seen = {}
    local runtime = runtimes.open(store, {
      diagnostics = {
        watch = function(snapshot)
          seen[#seen + 1] = ("%s %s %d %d %s"):format(snapshot.cause, snapshot.worker.status,
            snapshot.worker.transcript_len, snapshot.runtime.active_worker_count,
            snapshot.input and snapshot.input.content or "-")
          assert(type(snapshot.now) == "string")
          return {}
        end,
      },
    })
    local ref = runtimes.worker(runtime)
    runtimes.say(runtime, ref, "hi")
    assert(runtime:stop_worker(ref))
    assert(runtime:cancel_worker(ref)) -- nothing happens
    assert(runtime:cancel_worker(runtimes.worker(runtime)))
    assert.same({ "worker_created running 0 1 -", "worker_input_accepted running 1 1 hi",
      "worker_stopped stopped 1 0 -", "worker_created running 0 1 -", "worker_cancelled cancelled 0 0 -" }, seen)
  end)

  it("rules are asked in order of their names, each with a snapshot of its own", function()
    local asked, rules, names = {}, {}, { "a", "b", "c", "d", "e", "f", "g", "h" }
    for _, name in ipairs(names) do
      rules[name] = function(snapshot)
        asked[#asked + 1] = name
        assert(snapshot.worker.status == "running" and snapshot.runtime.status == "running")
        snapshot.worker.status, snapshot.runtime.status = "changed", "changed"
        if snapshot.input then snapshot.input.content = "changed" end
      end
    end
    local runtime = runtimes.open(store, { diagnostics = rules })
    local worker = assert(runtime:create_worker(runtimes.request()))
    assert.same(names, asked)
    assert.equal("running", worker.status)
    local input = { kind = "user", content = "hi" }
    assert(runtime:send_input(worker, input))
    assert.equal("hi", input.content)
  end)

  it("a built-in rule can be replaced, and switched off", function()
    local runtime = runtimes.open(store, {
      diagnostics = {
        ["worker.tools_less"] = false,
        ["runtime.local_default_resources"] = function()
          return { { severity = "warning", code = "mine", message = "mine" } }
        end,
      },
    })
    assert(runtime:create_worker())
    assert.same({ "1 warning mine 1" }, shown(runtime))
  end)

  it("a rule may come from a file, which can be edited", function()
    local path = support.dir() .. "/rule.lua"
    local function write(code)
      require("support.files").write(path, ([[
        return function(snapshot)
          return { { severity = "info", code = "%s", message = snapshot.cause } }
        end]]):format(code))
    end
    write "first"
    local runtime = runtimes.open(store, { diagnostics = { mine = assert(keel.load_policy(path, { reload = true })) } })
    runtimes.worker(runtime)
    write "second, and longer"
    runtimes.worker(runtime)
    assert.same({ "1 info first 1", "2 info second, and longer 1" }, shown(runtime))
  end)

  it("a rule that fails, overruns or says nonsense undoes the change", function()
    local function subject_of_another() return { runtime_id = "other", worker_id = "w" } end
    local rules = {
      [function() error "broken" end] = "policy_failed",
      [function() while true do end end] = "policy_budget",
      [function() return "text" end] = "policy_failed",
      [function() return { "text" } end] = "policy_failed",
      [function() return { severity = "info", code = "c", message = "not in a list" } end] = "policy_failed",
      [function() return { nil, { severity = "info", code = "c", message = "m" } } end] = "policy_failed",
      [function() return { { severity = "fatal", code = "c", message = "m" } } end] = "policy_failed",
      [function() return { { severity = "info", message = "m" } } end] = "policy_failed",
      [function() -- metamethods are not run
        return { setmetatable({ severity = "fatal", code = "c", message = "m" }, { __pairs = error }) }
      end] = "policy_failed",
      [function()
        return { setmetatable({}, { __index = { severity = "info", code = "c", message = "m" } }) }
      end] = "policy_failed",
      [function() return { { severity = "info", code = "c", message = "m", level = 1 } } end] = "policy_failed",
      [function() return { { severity = "info", code = "c", message = "m", subject = 5 } } end] = "policy_failed",
      [function()
        return { { severity = "info", code = "c", message = "m", subject = subject_of_another() } }
      end] = "policy_failed",
      [function()
        return { { severity = "info", code = "c", message = "m", subject = { runtime_id = "rt", worker_id = "w" } } }
      end] = "policy_failed",
    }
    for rule, code in pairs(rules) do
      local runtime = runtimes.open(store, { diagnostics = { mine = rule } })
      local before = runtimes.everything(runtime)
      local err = support.refused(code, runtime:create_worker(runtimes.request()))
      assert.equal("mine", err.policy)
      assert.equal(before, runtimes.everything(runtime))
    end
  end)

  it("what a store records by itself is checked", function()
    runtimes.open(store)
    local function record(more)
      local diagnostic = { severity = "info", code = "c", message = "m" }
      for name, value in pairs(more) do diagnostic[name] = value end
      return store:record_diagnostic("rt", diagnostic)
    end
    assert.equal(1, record {})
    assert.equal(1, record { message = "other" })
    assert.equal(2, record { subject = "run-1" })
    support.invalid("severity", record { severity = "fatal" })
    support.invalid("code", record { code = "" })
    support.invalid("subject", record { subject = "" })
    support.refused("not_found", record { subject = { runtime_id = "rt", worker_id = "w" } })
    support.refused("not_found", store:record_diagnostic("other", { severity = "info", code = "c", message = "m" }))
    assert.equal("other", keel.runtime({ store = store, runtime_id = "rt" }):diagnostics()[1].message)
  end)
end)
