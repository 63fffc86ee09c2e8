--- The events of a runtime: cursors, batches, whose they are, and how runs and workers meet in the one log.
local keel = require "keel"
local runtimes = require "support.runtime"
local support = require "support"

local worker_of, say = runtimes.worker, runtimes.say

support.each_store(function(open)
  local store, runtime

  before_each(function()
    store = open()
    runtime = runtimes.open(store, { limits = { max_transcript_projection_items = 2, max_event_batch_items = 16 } })
  end)

  it("WORKER-7: three events in batches of two: started and created, then the input, then nothing", function()
    local cursor = assert(runtime:event_cursor_from_start())
    local ref = worker_of(runtime)
    say(runtime, ref, "hi")
    local batch = assert(runtime:read_events(cursor, 2))
    assert.equal("rt", batch.runtime_id)
    assert.same({ "runtime_started", "worker_created" }, support.pluck(batch.events, "kind"))
    assert.is_true(batch.has_more)
    assert.same(ref, batch.events[2].worker_ref)
    assert.equal("rt", batch.events[1].runtime_id)
    batch = assert(runtime:read_events(keel.json.decode(keel.json.encode(batch.cursor)), 2))
    assert.same({ "worker_input_accepted" }, support.pluck(batch.events, "kind"))
    assert.same({ role = "user", sequence = 1 }, batch.events[1].data)
    assert.is_false(batch.has_more)
    batch = assert(runtime:read_events(batch.cursor, 2))
    assert.same({}, batch.events)
    assert.is_false(batch.has_more)
  end)

  it("WORKER-7: a cursor at the end sees only what comes", function()
    local cursor = assert(runtime:event_cursor_now())
    assert.same({}, runtime:read_events(cursor).events)
    worker_of(runtime)
    assert.same({ "worker_created" }, support.pluck(runtime:read_events(cursor).events, "kind"))
  end)

  it("EVENT-3: a cursor and a limit may come from a decoder of JSON that knows no integers", function()
    local cursor = assert(runtime:event_cursor_from_start())
    cursor.next_event_id = cursor.next_event_id + 0.0
    worker_of(runtime)
    local batch = assert(runtime:read_events(cursor, 1.0))
    assert.same({ "runtime_started" }, support.pluck(batch.events, "kind"))
    assert.equal("integer", math.type(batch.cursor.next_event_id))
    local subscription = assert(runtime:subscribe_events(cursor))
    assert.equal("integer", math.type(subscription:cursor().next_event_id))
    assert.equal("runtime_started", subscription:next(0).kind)
    assert.equal(1, #assert(runtime:list_workers { limit = 1.0 }))
    support.raises("must be a whole number, got 1.5", runtime.list_workers, runtime, { limit = 1.5 })
    for _, id in ipairs { 1.5, 0.0, 2 ^ 63 } do
      support.invalid("cursor", runtime:read_events { runtime_id = "rt", epoch = cursor.epoch, next_event_id = id })
    end
  end)

  it("a worker's detail or summary names it to runs, events and filters as well as its ref", function()
    local worker = assert(runtime:create_worker(runtimes.request()))
    local manager = support.manager(store)
    for _, given in ipairs { worker, assert(runtime:list_workers())[1], worker.worker_ref } do
      local run = assert(manager:create("t", { worker_ref = given }))
      assert.same(worker.worker_ref, run.worker_ref)
      assert.same(worker.worker_ref, store:get(run.run_id).worker_ref)
      assert(store:append_event { kind = "note", worker_ref = given, data = worker })
      local last = assert(store:read_events(nil, 100, { worker_ref = given, kinds = { "note" } })).events
      assert.same({ worker.worker_ref, worker }, { last[#last].worker_ref, last[#last].data })
    end
    assert.equal(7, #assert(store:read_events(nil, 100, { worker_ref = worker })).events)
    local another = { worker_id = "another", runtime_id = "rt", worker_ref = worker.worker_ref }
    for _, own in ipairs { { worker_ref = { name = "somebody else's" } }, another } do
      assert.same(own, manager:create("t", { worker_ref = own }).worker_ref)
      assert.equal(1, #assert(store:read_events(nil, 100, { worker_ref = own })).events)
    end
  end)

  it("limits are the runtime's", function()
    local err = support.refused("limit_too_large", runtime:read_events(nil, 17))
    assert.equal(17, err.requested)
    assert.equal(16, err.max)
    support.invalid("limit", runtime:read_events(nil, 0))
    for _ = 1, 20 do worker_of(runtime) end
    assert.equal(16, #runtime:read_events().events)
  end)

  it("WORKER-8: another runtime's cursor is wrong_runtime, whatever the limit; one beyond the end is empty", function()
    local other = runtimes.open(store, { runtime_id = "other" })
    local err = support.refused("wrong_runtime", runtime:read_events(assert(other:event_cursor_from_start()), 0))
    assert.truthy(err.expected:find("rt", 1, true) and err.expected:find(store:epoch(), 1, true))
    assert.truthy(err.actual:find("other", 1, true) and err.actual:find(store:epoch(), 1, true))
    support.refused("wrong_runtime", runtime:subscribe_events(assert(other:event_cursor_now())))
    local cursor = assert(runtime:event_cursor_now())
    cursor.next_event_id = cursor.next_event_id + 1000
    local batch = assert(runtime:read_events(cursor))
    assert.same({}, batch.events)
    assert.same(cursor, batch.cursor)
    for _, bad in ipairs { {}, { runtime_id = "rt" }, { runtime_id = "rt", epoch = store:epoch() },
      { runtime_id = "rt", epoch = store:epoch(), next_event_id = 0 } } do
      support.invalid("cursor", runtime:read_events(bad))
    end
  end)

  it("a runtime sees its own events, in the order of the one log", function()
    local other = runtimes.open(store, { runtime_id = "other" })
    for _ = 1, 3 do
      worker_of(runtime)
      worker_of(other)
      assert(store:append_event { kind = "note" })
    end
    assert.equal("runtime_started worker_created worker_created worker_created", runtimes.kinds(runtime))
    assert.equal(11, #support.events(store))
    for i, event in ipairs(support.events(store)) do assert.equal(i, event.id) end
  end)

  describe("Runs and workers meet:", function()
    it("the events of a run that names a worker name it too, and both pass the filter by worker", function()
      local manager = support.manager(store)
      local ref, other = worker_of(runtime), worker_of(runtime)
      local run = assert(manager:create("t", { worker_ref = ref }))
      assert(manager:try_start(run.run_id))
      local ack = assert(runtime:send_input(ref, { kind = "user", content = "work", run_id = run.run_id }))
      say(runtime, other, "something else")
      assert(manager:set_status(run.run_id, "success"))
      assert(runtime:stop_worker(ref))
      assert.same({ "worker_created", "run_created", "run_started", "worker_input_accepted", "run_finished",
        "worker_stopped" }, support.pluck(support.events(store, { worker_ref = ref }), "kind"))
      for _, event in ipairs(support.events(store, { worker_ref = ref })) do assert.same(ref, event.worker_ref) end

      local of_run = support.events(store, { run_id = run.run_id })
      assert.same({ "run_created", "run_started", "worker_input_accepted", "run_finished" },
        support.pluck(of_run, "kind"))
      assert.equal(ack.event_id, of_run[3].id)
      assert.equal(run.run_id, runtime:transcript_projection(ref).items[1].run_id)
      assert.same({ "worker_input_accepted" }, support.pluck(support.events(store, { run_id = run.run_id,
        worker_ref = ref, runtime_id = "rt" }), "kind"))
      assert.same({}, support.events(store, { run_id = run.run_id, worker_ref = other }))
    end)

    it("a run that is deleted, or gets another worker, says so in its events", function()
      local first, second = { runtime_id = "rt", worker_id = "w1" }, { worker_id = "w2", runtime_id = "rt" }
      assert(store:put("r", { thread_id = "t", worker_ref = first }))
      assert(store:put("r", { worker_ref = second, status = "running" }))
      assert(store:delete "r")
      local seen = {}
      for i, event in ipairs(support.events(store, { run_id = "r" })) do seen[i] = event.worker_ref.worker_id end
      assert.same({ "w1", "w2", "w2" }, seen)
      assert.equal(2, #support.events(store, { worker_ref = { runtime_id = "rt", worker_id = "w2" } }))
    end)

    it("EVENT-4: the filter by worker equals a brute-force one", function()
      local refs = { worker_of(runtime), worker_of(runtime), worker_of(runtime) }
      for i = 1, 40 do say(runtime, refs[i * i % 3 + 1], "input " .. i) end
      local all = support.events(store)
      for _, ref in ipairs(refs) do
        for limit = 1, 9, 4 do
          local wanted, got, cursor = {}, {}, nil
          for _, event in ipairs(all) do
            if event.worker_ref and event.worker_ref.worker_id == ref.worker_id then wanted[#wanted + 1] = event.id end
          end
          repeat
            local page = assert(store:read_events(cursor, limit, { worker_ref = ref }))
            for _, event in ipairs(page.events) do got[#got + 1] = event.id end
            cursor = page.cursor
          until not page.has_more
          assert.same(wanted, got)
        end
      end
    end)
  end)
end)
