--- Machines are a name space of their own.
local keel = require "keel"
local support = require "support"

support.each_store(function(open)
  local store, dispatcher, runs
  before_each(function()
    store = open()
    dispatcher = keel.dispatcher { store = store }
    runs = support.manager(store)
  end)

  local function prepare(machine, hash)
    return dispatcher:prepare_atomic(machine, hash or "h", function() return { test_dir = "/srv/t" } end)
  end

  it("DISPATCH-5: a machine and a thread of the same name never collide", function()
    local test = assert(prepare "m1")
    local run, verdict = runs:create_or_reject "m1"
    assert.same({ "created", "m1" }, { verdict, run.thread_id })
    assert.equal("reuse", select(2, prepare "m1"))
    assert.same({ run.run_id }, support.pluck(store:list_by_thread "m1", "run_id"))
    assert(runs:cancel(run.run_id))
    assert.is_false(runs:has_inflight "m1")
    assert.equal(test.id, dispatcher:active_by_machine("m1").id)
  end)

  it("DISPATCH-5: no run gets on the thread of a machine by any other way", function()
    local thread = store:get(assert(prepare "m1").id).thread_id
    local free = thread:gsub("m1$", "m2")
    support.invalid("thread_id", runs:create(free))
    support.invalid("thread_id", runs:create_or_reject(free))
    support.invalid("thread_id", runs:reserve(free, "delete", function() end))
    support.invalid("thread_id", store:put("x", { thread_id = free }))
    support.invalid("thread_id", store:put("x", { thread_id = free, operation_kind = keel.null }))
    support.invalid("thread_id", store:put("x", { thread_id = free, operation_kind = "artifact_write" }))
    support.invalid("operation_kind", store:put("x", { thread_id = "m2", operation_kind = "dispatch" }))
    assert(store:put("x", { thread_id = "m2" }))
    support.invalid("operation_kind", store:put("x", { operation_kind = "dispatch" }))
    support.refused("conflict", runs:create_or_reject(thread))
    assert.equal("created", select(2, prepare "m2"))
    assert.same({}, store:verify())
  end)

  it("DISPATCH-5: a run of a machine stays one", function()
    local run = assert(prepare "m1")
    support.invalid("thread_id", store:put(run.id, { operation_kind = "run" }))
    support.invalid("thread_id", store:put(run.id, { operation_kind = keel.null }))
    assert(store:put(run.id, { thread_id = store:get(run.id).thread_id, priority = 1 }))
    assert(store:put(run.id, { operation_kind = "dispatch" }))
  end)

  it("a refusal leaves the transaction good", function()
    local tx <close> = assert(store:begin())
    support.invalid("thread_id", tx:put("x", { thread_id = "keel.machine/m" }))
    assert(tx:put("y", { thread_id = "t" }))
    assert(tx:commit())
    assert.is_truthy(store:get "y")
  end)

  it("DISPATCH-7: runs of run managers are no test runs", function()
    local run = assert(runs:create("t", { batch_id = "b", fingerprint = "h" }))
    support.refused("not_found", dispatcher:get(run.run_id))
    support.refused("not_found", dispatcher:update { id = run.run_id, revision = 1 })
    assert.same({ {}, {} }, { dispatcher:list(), (dispatcher:batch "b") })
  end)

  it("names of machines are ids of up to 243 bytes", function()
    for _, name in ipairs { "", "a\nb", "\xff", ("m"):rep(244) } do
      support.invalid("machine", prepare(name))
      support.invalid("machine", dispatcher:active_by_machine(name))
      support.invalid("machine", dispatcher:find_by_test_dir_hash_and_machine("h", name))
    end
    for _, hash in ipairs { "", "a\0b", ("h"):rep(257) } do support.invalid("test_dir_hash", prepare("m", hash)) end
    for _, name in ipairs { "a b", "ä/€", "keel.machine/m", ("m"):rep(243) } do
      assert.equal(name, assert(prepare(name)).machine)
    end
    support.raises("machine", dispatcher.create, dispatcher, { machine = 1 })
    support.raises("prepare_atomic", dispatcher.prepare_atomic, dispatcher, 1, "h", print)
    support.raises("sotre", keel.dispatcher, { sotre = store })
  end)
end)
