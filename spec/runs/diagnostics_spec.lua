--- runs:diagnostics(): rules of the host's about the runs of a store.
local files = require "support.files"
local keel = require "keel"
local support = require "support"

support.each_store(function(open)
  local function remarks_of(rules, store, options)
    local given = { store = store or open(), diagnostics = rules }
    for name, value in pairs(options or {}) do given[name] = value end
    return assert(keel.run_manager(given):diagnostics())
  end

  describe("a manager's diagnostics", function()
    it("are what its rules remark about runs, in the order of their names", function()
      local store = open()
      local runs = keel.run_manager { store = store }
      local waiting = assert(runs:create("a", { metadata = { tag = "x" }, kwargs = { text = ("y"):rep(2000) } }))
      local failed = assert(runs:create "b")
      assert(runs:set_status(failed.run_id, "error", { error = "no" }))
      assert(runs:set_limit("gpu", { max = 1 }))
      assert.same({
        { rule = "1 waits", severity = "warning", code = "waits", message = "a x", subject = waiting.run_id },
        { rule = "2 fails", severity = "info", code = "failed", message = "no", subject = failed.run_id },
        { rule = "2 fails", severity = "info", code = "limits", message = "gpu 1 1" },
      }, remarks_of({
        ["2 fails"] = function(snapshot)
          return { { severity = "info", code = "failed", message = snapshot.ended[1].error,
            subject = snapshot.ended[1].run_id }, { severity = "info", code = "limits",
            message = ("%s %d %d"):format(snapshot.limits[1].name, #snapshot.sessions, snapshot.stats.pending_runs) } }
        end,
        ["1 waits"] = function(snapshot)
          local run = snapshot.runs[1]
          assert(#snapshot.runs == 1 and not run.kwargs and snapshot.cause == "diagnostics")
          snapshot.ended[1] = nil -- is nobody else's
          return { { severity = "warning", code = "waits", message = run.thread_id .. " " .. run.metadata.tag,
            subject = run.run_id } }
        end,
        ["3 says nothing"] = function() end,
      }, store))
      assert.same({}, runs:diagnostics())
    end)

    it("tell of a rule that fails, overruns or returns nonsense, and ask the others", function()
      local remarks = remarks_of({
        a = function() error "oops" end,
        b = function() while true do end end,
        c = function() return { { severity = "loud", code = "c", message = "m" } } end,
        d = function() return { { severity = "info", code = "d", message = "m" } } end,
      }, nil, { policy_budget = { instructions = 1000000, seconds = 5 } })
      assert.same({ "policy_failed", "policy_budget", "policy_failed", "d" }, support.pluck(remarks, "code"))
      assert.matches("oops", remarks[1].message)
      assert.matches("severity must be info, warning or error", remarks[3].message)
    end)
  end)
end)

describe("[#sqlite] a manager's diagnostics", function()
  after_each(support.clean_up)

  it("may be scripts from files", function()
    local path = support.dir() .. "/rule.lua"
    files.write(path, [[return function(snapshot)
      return { { severity = "info", code = "count", message = "runs: " .. #snapshot.runs } }
    end]])
    local store = support.open(support.path())
    local runs = keel.run_manager { store = store, diagnostics = { count = assert(keel.load_policy(path)) } }
    assert(store:transaction(function(tx)
      for i = 1, 1001 do assert(tx:put("r" .. i, { thread_id = "t" .. i % 7, claimable = true })) end
      return true
    end))
    assert.same({ { rule = "count", severity = "info", code = "count", message = "runs: 1000" } }, runs:diagnostics())
  end)

  it("see no more than a thousand of what is listed by name, and say so", function()
    local store, seen = support.open(support.path()), {}
    local runs = keel.run_manager { store = store, diagnostics = { count = function(snapshot)
      seen[#seen + 1] = { #snapshot.limits, snapshot.has_more.limits, snapshot.has_more.schedules }
    end } }
    for last = 1000, 1001 do
      assert(store:transaction(function(tx)
        for i = last == 1000 and 1 or last, last do assert(tx:set_limit("n" .. i, { max = 1 })) end
        return true
      end))
      assert.same({}, runs:diagnostics())
    end
    assert.same({ { 1000 }, { 1000, true } }, seen)
  end)

  it("raise for what is no rule", function()
    assert.has_error(function() keel.run_manager { store = ":memory:", diagnostics = { x = 1 } } end,
      "bad argument #1 to 'run_manager' (option 'diagnostics' must map names to functions and loaded policies; "
      .. "'x' is a number)")
  end)

  it("fail with what reading fails with", function()
    local wrapped = support.wrap(support.open(support.path()), { list_inflight = support.fail(1, support.busy()) })
    local runs = keel.run_manager { store = wrapped, diagnostics = { x = function() end }, max_wait = 0 }
    local remarks, err = runs:diagnostics()
    assert.is_nil(remarks)
    assert.equal("busy", err.code)
  end)
end)
