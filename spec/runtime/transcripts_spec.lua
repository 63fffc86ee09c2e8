--- Inputs and transcripts: sequences, pages, limits, bytes, and the runs that caused them.
local keel = require "keel"
local runtimes = require "support.runtime"
local support = require "support"

local worker_of, say = runtimes.worker, runtimes.say

support.each_store(function(open)
  local store, runtime, ref

  before_each(function()
    store = open()
    runtime = runtimes.open(store, { limits = { max_transcript_projection_items = 2, max_event_batch_items = 16 } })
    ref = worker_of(runtime)
  end)

  it("WORKER-4: inputs get the sequences 1, 2, 3, and are read in parts", function()
    for i, kind in ipairs { "user", "system", "user" } do
      local ack = assert(runtime:send_input(ref, { kind = kind, content = "input " .. i }))
      assert.same({ worker_ref = ref, status = "running", transcript_sequence = i, event_id = 2 + i }, ack)
    end
    local part = assert(runtime:transcript_projection(ref, { start = 0, limit = 2 }))
    assert.equal(3, part.total_items)
    assert.same({ "user", "system" }, support.pluck(part.items, "role"))
    assert.equal(2, part.next_start)
    assert.same({ sequence = 2, worker_ref = ref, role = "system", content = "input 2", event_id = 4 }, part.items[2])
    assert.same(ref, part.worker_ref)
    assert.equal(0, part.start)
    assert.equal(2, part.limit)

    local err = support.refused("limit_too_large", runtime:transcript_projection(ref, { start = 0, limit = 3 }))
    assert.equal(3, err.requested)
    assert.equal(2, err.max)
    part = assert(runtime:transcript_projection(ref, { start = 2, limit = 2 }))
    assert.same({ 3 }, support.pluck(part.items, "sequence"))
    assert.is_nil(part.next_start)
    for _, start in ipairs { 3, 1000, math.maxinteger } do
      part = assert(runtime:transcript_projection(ref, { start = start, limit = 2 }))
      assert.same({}, part.items)
      assert.equal(3, part.total_items)
      assert.is_nil(part.next_start)
    end
    support.invalid("limit", runtime:transcript_projection(ref, { limit = 0 }))
    support.invalid("limit", runtime:transcript_projection(ref, { limit = -1 }))
    support.invalid("start", runtime:transcript_projection(ref, { start = -1 }))
    assert.equal(3, runtime:worker_detail(ref).transcript_len)
    assert.equal(5, runtime:worker_detail(ref).last_event_id)
  end)

  it("WORKER-4: workers do not mix", function()
    local other = worker_of(runtime)
    say(runtime, ref, "a", "b")
    say(runtime, other, "c")
    say(runtime, ref, "d")
    assert.same({ "a", "b", "d" }, runtimes.contents(runtime, ref))
    assert.same({ "c" }, runtimes.contents(runtime, other))
    assert.same({}, store:verify())
  end)

  it("WORKER-12: content is kept byte for byte", function()
    local texts = { " leading and trailing \n", "zero\0byte", "\u{2028}\u{1F411}", ("x"):rep(100000), "\t.\t" }
    say(runtime, ref, table.unpack(texts))
    assert.same(texts, runtimes.contents(runtime, ref))
  end)

  it("a content over the maximum is limit_too_large, and leaves nothing", function()
    local err = support.refused("limit_too_large",
      runtime:send_input(ref, { kind = "user", content = ("x"):rep(16 * 2 ^ 20 + 1) }))
    assert.equal("content", err.field)
    assert.equal(0, runtime:worker_detail(ref).transcript_len)
  end)

  it("WORKER-16: the same key gives the same entry, another input under it is a mismatch", function()
    local input = { kind = "user", content = "once", idempotency_key = "k" }
    local first = assert(runtime:send_input(ref, input))
    assert.is_nil(first.idempotency_reused)
    local before = runtimes.everything(runtime)
    local again = assert(runtime:send_input(ref, input))
    assert.is_true(again.idempotency_reused)
    assert.equal(first.transcript_sequence, again.transcript_sequence)
    assert.equal(first.event_id, again.event_id)
    for _, other in ipairs { { kind = "system", content = "once" }, { kind = "user", content = "twice" },
      { kind = "user", content = "once", run_id = "r" } } do
      other.idempotency_key = "k"
      support.refused("idempotency_mismatch", runtime:send_input(ref, other))
    end
    assert.equal(before, runtimes.everything(runtime))
    -- Another worker's equal key is another key, and the answer outlives the worker.
    assert.is_nil(assert(runtime:send_input(worker_of(runtime), input)).idempotency_reused)
    assert(runtime:stop_worker(ref))
    assert.equal(first.event_id, assert(runtime:send_input(ref, input)).event_id)
  end)

  it("WORKER-16: creating with a key twice gives one worker, another request under it is a mismatch", function()
    local request = runtimes.request { idempotency_key = "k" }
    local first = assert(runtime:create_worker(request))
    assert.is_nil(first.idempotency_reused)
    local before = runtimes.everything(runtime)
    local again = assert(runtime:create_worker(runtimes.request { idempotency_key = "k" }))
    assert.is_true(again.idempotency_reused)
    assert.equal(first.worker_id, again.worker_id)
    for _, more in ipairs {
      { intent = { kind = "assistant" } }, { profile = { kind = "named", value = "x" } }, { config_bundle = keel.null },
      { requested_capabilities = {} }, { mount_refs = { { name = "m", reference = "x" } } },
    } do
      more.idempotency_key = "k"
      support.refused("idempotency_mismatch", runtime:create_worker(runtimes.request(more)))
    end
    assert.equal(before, runtimes.everything(runtime))
    local other = runtimes.open(store, { runtime_id = "other" })
    assert.is_nil(assert(other:create_worker(request)).idempotency_reused)
  end)
end)
