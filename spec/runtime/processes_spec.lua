--- Many processes on one runtime: ids and sequences without gap or double.
local runtimes = require "support.runtime"
local support = require "support"

local SECONDS = tonumber(os.getenv "KEEL_SECONDS") or 2

support.each_shared("Four processes", function(place)

  it("WORKER-14: sending to one worker for some seconds leave the sequences 1 to n, once each", function()
    local path = place()
    local store = support.open(path)
    local runtime = runtimes.open(store)
    local ref = runtimes.worker(runtime)
    local children = {}
    for i = 1, 4 do
      children[i] = support.spawn([[
        local path, runtime_id, worker_id, name, seconds = ...
        local kernel = require "keel.kernel"
        local runtime = assert(keel.runtime {
          store = assert(keel.open(path, { durability = "normal" })), runtime_id = runtime_id })
        local ref = { runtime_id = runtime_id, worker_id = worker_id }
        local list, until_when = {}, kernel.monotonic() + tonumber(seconds)
        say "ready"
        hear()
        repeat
          local ack = assert(runtime:send_input(ref, { kind = "user", content = name .. "-" .. #list + 1 }))
          list[#list + 1] = ack.transcript_sequence .. ":" .. ack.event_id
          if #list % 10 == 0 then assert(runtime:create_worker()) end
        until kernel.monotonic() > until_when and #list > 25 -- however slow the machine is
        say(table.concat(list, " "))
      ]], { path, "rt", ref.worker_id, "p" .. i, SECONDS })
    end
    for _, child in ipairs(children) do child:expect "ready" end
    for _, child in ipairs(children) do child:say "go" end
    local acked, sent = {}, 0
    for i, child in ipairs(children) do
      local number = 0
      for sequence, event_id in child:hear():gmatch "(%d+):(%d+)" do
        number = number + 1
        assert.is_nil(acked[tonumber(sequence)], "sequence " .. sequence .. " was given twice")
        acked[tonumber(sequence)] = { content = ("p%d-%d"):format(i, number), event_id = tonumber(event_id) }
      end
      sent = sent + number
      child:finish()
    end
    assert.is_true(sent > 100)
    assert.equal(sent, #acked)

    local start = 0
    while start do
      local part = assert(runtime:transcript_projection(ref, { start = start }))
      assert.equal(sent, part.total_items)
      for i, item in ipairs(part.items) do
        assert.equal(start + i, item.sequence)
        assert.equal(acked[item.sequence].content, item.content)
        assert.equal(acked[item.sequence].event_id, item.event_id)
      end
      start = part.next_start
    end
    local workers, events = {}, support.events(store)
    for i, event in ipairs(events) do
      assert.equal(i, event.id)
      if event.kind == "worker_created" then
        assert.is_nil(workers[event.worker_ref.worker_id])
        workers[event.worker_ref.worker_id] = true
      end
    end
    local summary = assert(runtime:summary())
    assert.equal(1 + sent + summary.worker_count, #events)
    assert.equal(2 * (summary.worker_count - 1), summary.diagnostic_count)
    assert.same({}, store:verify())
  end)

  it("WORKER-16: with one key make one worker", function()
    local path = place()
    local store = support.open(path)
    local runtime = runtimes.open(store)
    local children = {}
    for i = 1, 4 do
      children[i] = support.spawn([[
        local runtime = assert(keel.runtime { store = assert(keel.open((...))), runtime_id = "rt" })
        say "ready"
        hear()
        say(assert(runtime:create_worker { idempotency_key = "k" }).worker_id)
      ]], { path })
    end
    for _, child in ipairs(children) do child:expect "ready" end
    for _, child in ipairs(children) do child:say "go" end
    local ids = {}
    for _, child in ipairs(children) do
      ids[child:hear()] = true
      child:finish()
    end
    local id = next(ids)
    assert.is_nil(next(ids, id))
    assert.equal(1, runtime:summary().worker_count)
  end)
end)
