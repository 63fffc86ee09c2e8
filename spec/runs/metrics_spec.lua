--- runs:metrics(): what goes on, as figures.
local keel = require "keel"
local support = require "support"

support.each_store(function(open)
  local clock, store, runs
  before_each(function()
    clock = support.clock "2026-01-01T00:00:00Z"
    store = open { clock = clock.read }
    runs = keel.run_manager { store = store }
  end)

  local function ended(thread, status)
    local run = assert(runs:create(thread))
    assert.equal("started", runs:try_start(run.run_id))
    assert(runs:update_run_completion(run.run_id, { status = status }))
  end

  describe("metrics", function()
    it("count runs by status and by handler", function()
      for _, status in ipairs { "success", "success", "error", "timeout", "interrupted" } do ended("t", status) end
      assert(runs:create("a", { handler = "mail", claimable = true }))
      assert(runs:create("b", { handler = "mail", claimable = true }))
      assert(runs:create("c", { handler = "mail", claimable = true, scheduled_at = 60 }))
      assert(runs:create("d", { claimable = true }))
      assert.equal("mail", assert(runs:claim_next { handlers = { "mail" } }).handler)
      local metrics = assert(runs:metrics())
      assert.same({ pending = 3, running = 1, success = 2, error = 1, timeout = 1, interrupted = 1 }, metrics.runs)
      assert.same({ { handler = "mail", waiting = 2, running = 1 }, { handler = "default", waiting = 1, running = 0 } },
        metrics.handlers)
      assert.same({ waiting = 0, running = 0 }, metrics.other_handlers)
      assert.same({ 1, 1 }, { metrics.delayed_runs, metrics.sessions.alive })
    end)

    it("tell what happened in the last five minutes, and what has ever happened when the log is pruned", function()
      ended("t", "success")
      clock.advance(200)
      ended("t", "error")
      ended("t", "error")
      local run = assert(runs:create("t", { claimable = true }))
      assert(runs:claim_next())
      assert(runs:requeue(run.run_id))
      local recent = assert(runs:metrics()).recent
      assert.same({ seconds = 300.0, created = 4, started = 4, requeued = 1,
        ended = { success = 1, error = 2, timeout = 0, interrupted = 0 } }, recent)
      clock.advance(150) -- the first one's is further back
      recent = assert(runs:metrics()).recent
      assert.same({ 3, 3, 0, 2 }, { recent.created, recent.started, recent.ended.success, recent.ended.error })
      local before = assert(runs:metrics())
      assert(store:prune { before = "2026-01-01T00:03:00Z" })
      local after = assert(runs:metrics())
      assert.equal(before.events_total, after.events_total)
      assert.is_true(after.events < before.events)
      assert.equal(150, after.recent.seconds) -- so far the log goes back
      assert.equal(3, after.recent.created)
    end)

    it("tell how long the oldest waits, limits and pauses", function()
      assert(runs:set_limit("gpu", { max = 2 }))
      assert(runs:pause("*", { reason = "moving" }))
      local run = assert(runs:create("t", { slots = { { name = "gpu" } } }))
      clock.advance(30)
      local metrics = assert(runs:metrics())
      assert.same({ run.run_id, 30.0, 1 }, { metrics.oldest_waiting, metrics.oldest_waiting_age, metrics.pauses })
      assert.same({ { name = "*", paused = true, reason = "moving", holding = 0, waiting = 1 },
        { name = "gpu", max = 2, paused = false, holding = 0, waiting = 1 } }, metrics.limits)
      assert.same({ names = 0, holding = 0, waiting = 0 }, metrics.other_limits)
      assert(runs:cancel(run.run_id))
      metrics = assert(runs:metrics())
      assert.same({ nil, 0 }, { metrics.oldest_waiting, metrics.oldest_waiting_age })
    end)

    it("of a store count as many handlers as are asked for", function()
      for i = 1, 4 do assert(runs:create("t" .. i, { handler = "h" .. i })) end
      assert.same({ "h1", "h2" }, { store:metrics({ handlers = 2 }).handlers[1].handler,
        store:metrics({ handlers = 2 }).handlers[2].handler })
      assert.same({}, store:metrics({ handlers = 0 }).handlers)
      clock.advance(10)
      assert.equal(0, store:metrics({ window = 5 }).created)
      for _, wrong in ipairs { { handlers = -1 }, { handlers = 1001 }, { window = 0 }, { window = -1 } } do
        local metrics, err = store:metrics(wrong)
        assert.is_nil(metrics)
        assert.same({ "invalid_request", (next(wrong)) }, { err.code, err.field })
      end
    end)
  end)
end)

describe("[#sqlite] metrics of a store of one's own", function()
  after_each(support.clean_up)

  it("are not there when it cannot tell, or fails", function()
    local store = support.open(support.path())
    local runs = keel.run_manager { store = support.wrap(store, { metrics = support.fail(1, support.busy()) }),
      max_wait = 0 }
    assert.equal("busy", select(2, runs:metrics()).code)
    local bare = setmetatable({ metrics = false }, { __index = function(_, name)
      return store[name] and function(_, ...) return store[name](store, ...) end
    end })
    local metrics, err = keel.run_manager({ store = bare }):metrics()
    assert.is_nil(metrics)
    assert.equal("not_supported", err.code)
  end)
end)
