local testing = require("keel").testing

local POLICY = debug.getinfo(1, "S").source:match "^@(.*)_spec%.lua$" .. ".lua"

describe("The policy starving_threads", function()
  local clock = testing.clock()
  local function run(thread, status, age, fields)
    local record = testing.run(thread .. age, fields)
    record.thread_id, record.status = thread, status
    record.created_at = testing.clock(clock.read() - age).text()
    return record
  end
  local function diagnose(runs, patience)
    return assert(testing.diagnose(POLICY, { now = clock.text(), runs = runs, patience = patience }))
  end

  it("says nothing of threads where nothing waits for long", function()
    assert.same({}, diagnose {})
    assert.same({}, diagnose { run("a", "running", 90000), run("a", "pending", 600), run("b", "pending", 0) })
  end)

  it("warns of a queue that does not move, and is alarmed when nothing runs", function()
    assert.same({
      { severity = "error", code = "thread_starving", subject = "a",
        message = "2 runs wait on thread a, the oldest for 700 s, and 0 run" },
      { severity = "warning", code = "thread_starving", subject = "b",
        message = "1 runs wait on thread b, the oldest for 90000 s, and 1 run" },
    }, diagnose { run("b", "running", 90001), run("b", "pending", 90000), run("a", "pending", 700),
      run("a", "pending", 5) })
  end)

  it("has as much patience as it is told", function()
    assert.equal(1, #diagnose({ run("a", "pending", 11) }, 10))
    assert.equal(0, #diagnose({ run("a", "pending", 9) }, 10))
  end)

  it("does not count the time that a run is put off", function()
    assert.same({}, diagnose { run("a", "pending", 90000, { scheduled_at = testing.now }) })
  end)

  it("knows its calendar", function()
    for _, case in ipairs { { "2024-02-28T23:59:59+00:00", "2024-03-01T00:00:00+00:00", 86401 },
      { "2025-12-31T23:59:59.500000+00:00", "2026-01-01T00:00:00+00:00", 0.5 },
      { "1999-12-31T00:00:00+00:00", "2001-01-01T00:00:00+00:00", 367 * 86400 } } do
      local waiting = testing.pending("r", { created_at = case[1] })
      local function noticed(patience)
        return #testing.diagnose(POLICY, { now = case[2], runs = { waiting }, patience = patience })
      end
      assert.same({ 1, 0 }, { noticed(case[3] - 0.25), noticed(case[3]) })
    end
  end)

  it("looks at a store", function()
    local keel = require "keel"
    local store <close>, stands = testing.store()
    local runs = keel.run_manager { store = store }
    assert(runs:create "t")
    stands.advance(3600)
    local found = assert(testing.diagnose(POLICY, { now = store:now(), runs = store:list_inflight {} }))
    assert.same({ "t", "error" }, { found[1].subject, found[1].severity })
  end)
end)
