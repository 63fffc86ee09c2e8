--- Stopping and starting a runtime, opening it again, and that a call that failed has changed nothing.
local keel = require "keel"
local runtimes = require "support.runtime"
local support = require "support"

local worker_of, say, kinds = runtimes.worker, runtimes.say, runtimes.kinds

support.each_store(function(open, backend)
  local store, runtime

  before_each(function()
    store = open()
    runtime = runtimes.open(store)
  end)

  it("its summary says what it is", function()
    assert.same({
      runtime_id = "rt", display_name = "rt", backend = backend, status = "running", worker_count = 0,
      active_worker_count = 0, stopped_worker_count = 0, cancelled_worker_count = 0, diagnostic_count = 0,
      limits = { max_transcript_projection_items = 256, max_event_batch_items = 256 },
    }, runtime:summary())
    assert.equal("rt", runtime:runtime_id())
    assert.equal("running", runtime:status())
  end)

  it("without options it is a private one with a new id", function()
    local a, b = assert(keel.runtime { store = ":memory:" }), assert(keel.runtime { store = ":memory:" })
    assert.are_not.equal(a:runtime_id(), b:runtime_id())
    assert.equal("memory", a:summary().backend)
  end)

  it("WORKER-9: stop gives every active worker its own event, and is idempotent", function()
    local stopped, cancelled = worker_of(runtime), worker_of(runtime)
    local active = { worker_of(runtime), worker_of(runtime), worker_of(runtime) }
    say(runtime, active[1], "hi")
    local ends = { assert(runtime:stop_worker(stopped)), assert(runtime:cancel_worker(cancelled)) }
    local before = kinds(runtime)
    local event_id = assert(runtime:stop())
    assert.equal(before .. (" worker_stopped"):rep(3) .. " runtime_stopped", kinds(runtime))
    assert.equal(event_id, store:event_high_water())
    assert.equal(event_id, runtime:stop())
    assert.equal(event_id, store:event_high_water())
    assert.equal("stopped", runtime:status())
    local summary = assert(runtime:summary())
    assert.equal(0, summary.active_worker_count)
    assert.equal(4, summary.stopped_worker_count)
    assert.equal(1, summary.cancelled_worker_count)
    for i, ref in ipairs(active) do
      local detail = assert(runtime:worker_detail(ref))
      assert.equal("stopped", detail.status)
      assert.equal(event_id - 4 + i, detail.last_event_id)
    end
    assert.equal(ends[1].event_id, runtime:worker_detail(stopped).last_event_id)
    assert.equal("cancelled", runtime:worker_detail(cancelled).status)
    assert.same({}, store:verify())
  end)

  it("WORKER-9: while it is stopped nothing changes and everything can be read", function()
    local ref = worker_of(runtime)
    say(runtime, ref, "hi")
    assert(runtime:stop())
    local before = runtimes.everything(runtime)
    support.refused("runtime_stopped", runtime:create_worker())
    support.refused("runtime_stopped", runtime:send_input(ref, { kind = "user", content = "hi" }))
    support.refused("runtime_stopped", runtime:stop_worker(ref))
    support.refused("runtime_stopped", runtime:cancel_worker(ref))
    assert.equal(before, runtimes.everything(runtime))
    assert.same({ "hi" }, runtimes.contents(runtime, ref))
  end)

  it("WORKER-9: start makes it run again, and is idempotent", function()
    local ref = worker_of(runtime)
    assert.equal(1, runtime:start())
    assert(runtime:stop())
    local event_id = assert(runtime:start())
    assert.equal(event_id, runtime:start())
    assert.equal("running", runtime:status())
    assert.equal("stopped", runtime:worker_detail(ref).status)
    assert.equal("running", runtime:worker_detail(worker_of(runtime)).status)
    assert.equal("runtime_started worker_created worker_stopped runtime_stopped runtime_started worker_created",
      kinds(runtime))
  end)

  it("WORKER-10: another object for the same runtime sees the same; new options win and are stored", function()
    local ref = worker_of(runtime)
    say(runtime, ref, "hi")
    local before = runtimes.everything(runtime)
    local again = runtimes.open(store)
    assert.equal(before, runtimes.everything(again))
    runtimes.open(store, { display_name = "The sheep", limits = { max_event_batch_items = 3 } })
    local summary = assert(runtime:summary())
    assert.equal("The sheep", summary.display_name)
    assert.same({ max_transcript_projection_items = 256, max_event_batch_items = 3 }, summary.limits)
    runtimes.open(store)
    assert.same(summary, runtime:summary())
    runtimes.open(store, { display_name = "Dolly" })
    assert.equal("Dolly", runtime:summary().display_name)
    runtimes.open(store, { limits = { max_transcript_projection_items = 7 } })
    assert.same({ max_transcript_projection_items = 7, max_event_batch_items = 3 }, runtime:summary().limits)
  end)

  it("limits of its own are from 1 to 1000", function()
    for _, name in ipairs { "max_transcript_projection_items", "max_event_batch_items" } do
      for _, limit in ipairs { 0, -1 } do
        local err = support.refused("invalid_request",
          keel.runtime { store = store, runtime_id = "x", limits = { [name] = limit } })
        assert.truthy(err.field:find(name, 1, true))
      end
      local err = support.refused("limit_too_large",
        keel.runtime { store = store, runtime_id = "x", limits = { [name] = 1001 } })
      assert.equal(1001, err.requested)
      assert.equal(1000, err.max)
    end
    support.invalid("display_name", keel.runtime { store = store, runtime_id = "x", display_name = "" })
    support.refused("not_found", store:runtime_summary "x")
  end)

  describe("WORKER-15: a call that failed has changed nothing:", function()
    local calls = {
      create_worker = function(rt) return rt:create_worker(runtimes.request()) end,
      create_with_diagnostics = function(rt) return rt:create_worker() end,
      send_input = function(rt, ref) return rt:send_input(ref, { kind = "user", content = "hi" }) end,
      stop_worker = function(rt, ref) return rt:stop_worker(ref) end,
      cancel_worker = function(rt, ref) return rt:cancel_worker(ref) end,
      stop = function(rt) return rt:stop() end,
    }
    local function failing(name)
      return { create_worker = support.fail(1, support.broken()), send_worker_input = support.fail(1, support.broken()),
        end_worker = support.fail(1, support.broken()), stop_runtime = support.fail(1, support.broken()),
        tx = { [name] = support.fail(1, support.broken()) } }
    end
    for name, call in pairs(calls) do
      for _, place in ipairs { "create_worker", "record_diagnostic", "commit" } do
        it(name .. ", failing in " .. place, function()
          local ref = worker_of(runtime)
          local before = runtimes.everything(runtime)
          local wrapped = support.wrap(store, failing(place))
          local result, err = call(runtimes.open(wrapped), ref)
          if result then return end -- this call does not pass there
          assert.equal("store_corrupt", err.code)
          assert.equal(before, runtimes.everything(runtime))
          assert(call(runtime, ref))
          assert.same({}, store:verify())
        end)
      end
    end
  end)

  it("what is transient is tried again", function()
    local ref = worker_of(runtime)
    local wrapped, counts = support.wrap(store, { send_worker_input = support.fail(2, support.busy()),
      begin = support.fail(2, support.busy()) })
    local patient = runtimes.open(wrapped)
    assert(patient:send_input(ref, { kind = "user", content = "hi" }))
    assert.equal(3, counts.send_worker_input)
    assert(patient:create_worker(runtimes.request()))
    assert.equal(3, counts.begin)
  end)
end)

describe("[#sqlite]", function()
  after_each(support.clean_up)

  it("WORKER-10: all is there after a restart, and reading goes on where it stopped", function()
    local path = support.path()
    local first = support.open(path)
    local runtime = runtimes.open(first, { display_name = "Mine", limits = { max_event_batch_items = 2 } })
    local worker = assert(runtime:create_worker()).worker_ref
    say(runtime, worker, "a", "b", "c")
    assert(runtime:cancel_worker(worker_of(runtime), "not needed"))
    local before = runtimes.everything(runtime)
    local batch = assert(runtime:read_events(nil, 2))
    local part = assert(runtime:transcript_projection(worker, { limit = 2 }))
    first:close()

    runtime = runtimes.open(support.open(path))
    assert.equal(before, runtimes.everything(runtime))
    assert.same({ "worker_input_accepted", "worker_input_accepted" },
      support.pluck(runtime:read_events(batch.cursor).events, "kind"))
    assert.same({ "c" }, support.pluck(runtime:transcript_projection(worker, { start = part.next_start }).items,
      "content"))
    assert(runtime:stop())
    before = runtimes.everything(runtime)
    assert.equal(before, runtimes.everything(runtimes.open(support.open(path))))
    assert.equal("stopped", runtimes.open(support.open(path, { readonly = true })):status())
  end)

  it("WORKER-8: a cursor of a store that was wiped and made again under the same id is wrong_runtime", function()
    local path = support.path()
    local first = support.open(path)
    local old_epoch, cursor = first:epoch(), assert(runtimes.open(first):event_cursor_now())
    first:close()
    for _, ending in ipairs { "", "-wal", "-shm", "-sessions", "-wake" } do os.remove(path .. ending) end
    local second = support.open(path)
    local err = support.refused("wrong_runtime", runtimes.open(second):read_events(cursor))
    assert.truthy(err.expected:find(second:epoch(), 1, true))
    assert.truthy(err.actual:find(old_epoch, 1, true))
  end)
end)
