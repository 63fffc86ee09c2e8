--- Execution backends: what they are told, in which order, and that what they refuse has not happened.
local runtimes = require "support.runtime"
local support = require "support"

-- A backend that notes what it is told; `answers` says what a method returns or raises instead.
local function backend_of(answers)
  local told = {}
  local backend = { told = told, answers = answers or {} }
  for _, name in ipairs { "spawn", "dispatch_input", "stop", "cancel" } do
    backend[name] = function(self, ref, about)
      assert(rawequal(self, backend))
      told[#told + 1] = { name = name, ref = ref, about = about }
      local answer = self.answers[name]
      if answer then return answer(ref, about) end
      return true
    end
  end
  return backend
end

local function names(backend) return table.concat(support.pluck(backend.told, "name"), " ") end

support.each_store(function(open)
  local store, backend, runtime

  before_each(function()
    store = open()
    backend = backend_of()
    runtime = runtimes.open(store, { backend = backend })
  end)

  it("WORKER-18: is told of everything, once, with what it is about", function()
    local worker = assert(runtime:create_worker(runtimes.request()))
    assert.same(worker.worker_ref, backend.told[1].ref)
    assert.same(worker, backend.told[1].about)
    local ack = assert(runtime:send_input(worker, { kind = "user", content = "hi", run_id = "r" }))
    assert.same({ kind = "user", content = "hi", run_id = "r", sequence = 1, event_id = ack.event_id },
      backend.told[2].about)
    assert(runtime:stop_worker(worker, "enough"))
    assert.equal("enough", backend.told[3].about)
    assert(runtime:cancel_worker(worker)) -- it has ended: nothing happens
    assert(runtime:cancel_worker(runtimes.worker(runtime)))
    assert.equal("spawn dispatch_input stop spawn cancel", names(backend))
  end)

  it("WORKER-18: is not told again what a key repeats", function()
    for i = 1, 2 do
      local reused = i == 2 or nil
      local worker = assert(runtime:create_worker(runtimes.request { idempotency_key = "k" }))
      assert.equal(reused, worker.idempotency_reused)
      local ack = assert(runtime:send_input(worker, { kind = "user", content = "hi", idempotency_key = "k" }))
      assert.equal(reused, ack.idempotency_reused)
    end
    assert.equal("spawn dispatch_input", names(backend))
  end)

  it("WORKER-18: is told of every active worker when the runtime stops", function()
    local a, b, c = runtimes.worker(runtime), runtimes.worker(runtime), runtimes.worker(runtime)
    assert(runtime:stop_worker(b))
    local event_id = assert(runtime:stop())
    assert.equal("spawn spawn spawn stop stop stop", names(backend))
    assert.same(a, backend.told[5].ref)
    assert.same(c, backend.told[6].ref)
    assert.equal(event_id, runtime:stop())
    assert.equal(6, #backend.told)
  end)

  it("WORKER-18: is told of every active worker, of however many", function()
    local request = require("keel.runtime.request").worker(runtimes.request())
    assert(store:transaction(function(tx)
      for _ = 1, 1001 do assert(tx:create_worker("rt", request)) end
      return true
    end))
    assert(runtime:stop())
    assert.equal(1001, #backend.told)
  end)

  it("WORKER-18: what it does to the worker it is told of stays with it", function()
    backend.answers.spawn = function(_, worker)
      worker.status = "changed"
      return true
    end
    assert.equal("running", assert(runtime:create_worker(runtimes.request())).status)
  end)

  describe("WORKER-18: what it refuses has not happened:", function()
    local calls = {
      spawn = function(rt) return rt:create_worker(runtimes.request()) end,
      dispatch_input = function(rt, ref) return rt:send_input(ref, { kind = "user", content = "hi" }) end,
      stop = function(rt, ref) return rt:stop_worker(ref) end,
      cancel = function(rt, ref) return rt:cancel_worker(ref) end,
      ["stop of all"] = function(rt) return rt:stop() end,
    }
    local ways = {
      busy = function() return nil, { code = "busy", message = "not now", transient = true } end,
      io = function() return nil, "the machine is on fire" end,
      ["io "] = function() error "a mistake" end,
      ["io  "] = function() error { message = "a mistake" } end,
      conflict = function() return false end,
      ["conflict "] = function() end,
      ["io   "] = function() coroutine.yield() end,
    }
    for what, call in pairs(calls) do
      for code, answer in pairs(ways) do
        it(("%s, %s"):format(what, code), function()
          local ref = runtimes.worker(runtime)
          local before, high, told = runtimes.everything(runtime), store:event_high_water(), #backend.told
          backend.answers[what:match "^%a+_?%a*"] = answer
          support.refused(code:match "^%a+", call(runtime, ref))
          assert.equal(told + 1, #backend.told) -- a busy one is not asked again
          assert.equal(before, runtimes.everything(runtime))
          assert.equal(high, store:event_high_water())
          backend.answers = {}
          assert(call(runtime, ref))
          assert.equal(high + 1, runtime:read_events().events[high + 1].id)
          assert.same({}, store:verify())
        end)
      end
    end
  end)

  it("WORKER-18: refuses with an error like any other, whatever its table was", function()
    local function refusal(answer)
      backend.answers.spawn = function() return nil, answer end
      local _, err = runtime:create_worker(runtimes.request())
      return { tostring(err), err.code, err.transient, err.queue }
    end
    assert.same({ "busy: not now", "busy", true, "long" },
      refusal { code = "busy", message = "not now", transient = true, queue = "long" })
    assert.same({ "own: the backend refused", "own", false }, refusal { code = "own" })
    assert.same({ "io: too late", "io", false }, refusal { code = 5, message = "too late" })
    assert.same({ "io: the backend refused", "io", false }, refusal {})
  end)

  it("WORKER-18: has methods that can be called; functions they need not be", function()
    local stub = setmetatable({}, { __call = function() return true end })
    local given = { spawn = stub, dispatch_input = stub, stop = stub, cancel = stub }
    assert(runtimes.open(store, { backend = given }):create_worker())
    given.stop = {}
    support.raises("no method 'stop'", runtimes.open, store, { backend = given })
  end)

  it("WORKER-18: is asked last, when nothing else can refuse", function()
    local rules = { broken = function() error "broken" end }
    local watched = runtimes.open(store, { backend = backend, diagnostics = rules })
    support.refused("policy_failed", watched:create_worker())
    support.refused("not_found", runtime:send_input({ runtime_id = "rt", worker_id = "x" }, { kind = "user",
      content = "hi" }))
    assert.equal("", names(backend))
  end)

  it("WORKER-18: a worker that was spawned and could not be stored is cancelled again", function()
    local wrapped = support.wrap(store, { tx = { commit = support.fail(1, support.broken()) } })
    local failing = runtimes.open(wrapped, { backend = backend })
    support.refused("store_corrupt", failing:create_worker(runtimes.request()))
    assert.equal("spawn cancel", names(backend))
    assert.same(backend.told[1].ref, backend.told[2].ref)
    assert.equal(0, runtime:summary().worker_count)
  end)

  it("WORKER-18: a spawn that is tried again leaves one worker behind", function()
    local wrapped = support.wrap(store, { tx = { commit = support.fail(2, support.busy()) } })
    local patient = runtimes.open(wrapped, { backend = backend })
    local worker = assert(patient:create_worker(runtimes.request()))
    assert.equal("spawn cancel spawn cancel spawn", names(backend))
    assert.same(worker.worker_ref, backend.told[5].ref)
    assert.equal(1, runtime:summary().worker_count)
  end)

  it("says so when what was not stored cannot be cancelled", function()
    local log, lines = support.log()
    backend.answers.cancel = function() return nil, "no" end
    local wrapped = support.wrap(store, { tx = { commit = support.fail(1, support.broken()) } })
    support.refused("store_corrupt",
      runtimes.open(wrapped, { backend = backend, log = log }):create_worker(runtimes.request()))
    assert.equal("error", lines[#lines].level)
    assert.same(backend.told[1].ref, lines[#lines].fields.worker_ref)
  end)

  it("WORKER-18: cannot use the store meanwhile, and may be another for each object of a runtime", function()
    backend.answers.spawn = function() return store:append_event { kind = "from the backend" } end
    support.refused("busy", runtime:create_worker(runtimes.request()))
    assert(runtimes.open(store):create_worker(runtimes.request())) -- this object only records
    assert.equal("spawn", names(backend))
  end)
end)
