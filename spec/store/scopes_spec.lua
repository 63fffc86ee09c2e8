--- On a server a transaction has for itself what it is about, and others write elsewhere meanwhile.
local support = require "support"

describe("A transaction about a thread, on a server,", function()
  if not os.getenv "KEEL_TEST_POSTGRES" then return pending "KEEL_TEST_POSTGRES names no server" end
  local uri, one, other
  before_each(function()
    uri = support.server_uri()
    one, other = support.open(uri, { lock_timeout = 0.05 }), support.open(uri, { lock_timeout = 0.05 })
    assert(one:put("of_a", { thread_id = "a", session_id = one:session_id() }))
    assert(other:put("of_b", { thread_id = "b", session_id = other:session_id() }))
  end)
  after_each(support.clean_up)

  local function busy(done, err)
    assert.is_nil(done)
    assert.equal("busy", err.code)
    assert.is_true(err.transient)
  end

  it("leaves other threads to others, who get their answers while it is open", function()
    local tx <close> = assert(one:begin { thread_id = "a" })
    assert(tx:update_status("of_a", "running"))
    assert(other:update_status("of_b", "running"))
    assert(other:put("second", { thread_id = "c" }))
    assert(other:append_event { kind = "noted" })
    assert(tx:commit())
    local kinds = {}
    for _, event in ipairs(assert(one:read_events(nil, 20)).events) do
      kinds[#kinds + 1] = ("%d %s %s"):format(event.id, event.kind, event.run_id or "-")
    end
    assert.same({ "1 run_created of_a", "2 run_created of_b", "3 run_started of_b", "4 run_created second", "5 noted -",
      "6 run_started of_a" }, kinds)
    assert.same({}, one:verify())
  end)

  it("keeps others off its own thread, by thread and by run", function()
    local tx <close> = assert(one:begin { thread_id = "a" })
    busy(other:update_status("of_a", "running"))
    busy(other:put("newcomer", { thread_id = "a" }))
    busy(other:begin { run_id = "of_a" })
    busy(other:begin { thread_id = "a" })
    tx:rollback()
    assert(other:update_status("of_a", "running"))
  end)

  it("keeps off whoever wants the whole store, and is kept off", function()
    do
      local tx <close> = assert(one:begin { run_id = "of_a" })
      busy(other:begin())
      assert(tx:update_status("of_a", "running"))
    end
    local tx <close> = assert(one:begin())
    busy(other:update_status("of_b", "running"))
    assert(tx:update_status("of_b", "running"))
  end)

  it("takes another thread that is free, and is busy when it is not; trying again has the whole store", function()
    do
      local tx <close> = assert(one:begin { thread_id = "a" })
      assert(tx:update_status("of_b", "running"))
      busy(other:update_status("of_b", "success"))
      assert(tx:commit())
    end
    local tx = assert(one:begin { thread_id = "a" })
    local held = assert(other:begin { thread_id = "b" })
    busy(tx:update_status("of_b", "success"))
    tx:rollback()
    held:rollback()
    local again <close> = assert(one:begin { thread_id = "a" })
    busy(other:append_event { kind = "noted" })
    assert(again:update_status("of_b", "success"))
    assert(again:commit())
    assert(other:append_event { kind = "noted" }) -- and the one after that keeps to what it is about
    local third <close> = assert(one:begin { thread_id = "a" })
    assert(third and other:append_event { kind = "noted" })
  end)

  it("PG-5: lets sixteen on sixteen threads admit, start and end side by side", function()
    -- Who waited for another would do so to the end: all are open until the last has begun.
    local open, beside = {}, support.manager(support.open(uri, { lock_timeout = 2 }))
    for i = 1, 16 do
      local store, thread_id, run_id = support.open(uri, { lock_timeout = 2 }), "lane" .. i, "first" .. i
      open[i] = assert(store:begin { thread_id = thread_id })
      assert(open[i]:put(run_id, { thread_id = thread_id, session_id = store:session_id() }))
      assert(open[i]:update_status(run_id, "running"))
      assert(open[i]:update_status(run_id, "success"))
      local run = assert(beside:create_or_reject("free" .. i))
      assert.equal("started", beside:try_start(run.run_id))
      assert(beside:update_run_completion(run.run_id, { status = "success" }))
    end
    for i = 16, 1, -1 do assert(open[i]:commit()) end
    assert.equal(2 + 3 * 16 + 3 * 16, assert(one:event_high_water()))
    assert.same({}, one:verify())
  end)

  it("leaves others what may be claimed elsewhere, the best first, and keeps its own from them", function()
    assert(one:put("best", { thread_id = "a", claimable = true, priority = 9 }))
    assert(one:put("second", { thread_id = "c", claimable = true, priority = 8, concurrency = 1 }))
    assert(one:put("behind", { thread_id = "c", claimable = true, priority = 8, concurrency = 1 }))
    assert(one:put("third", { thread_id = "d", claimable = true }))
    local tx <close> = assert(one:begin { thread_id = "a" })
    assert.equal("second", assert(other:claim_next()).run_id)
    assert.equal("third", assert(other:claim_next()).run_id)
    busy(other:claim_next())
    tx:rollback()
    assert.equal("best", assert(other:claim_next()).run_id)
    assert.is_nil(other:claim_next())
    assert.same({}, one:verify())
  end)

  it("looks with the time of now, whatever was asked for before", function()
    local clock = support.clock()
    local third = support.open(uri, { lock_timeout = 0, clock = clock.read })
    local maker = support.manager(support.open(uri, { clock = clock.read }))
    local later = assert(maker:create("d", { claimable = true, scheduled_at = 5 }))
    repeat
      local none, trouble = third:claim_next()
      assert.is_nil(none)
    until not trouble
    clock.advance(6)
    local tx = assert(support.open(uri):begin())
    busy(third:append_event { kind = "noted" }) -- its question is under way
    tx:rollback()
    local run, err
    repeat
      run, err = third:claim_next() -- busy until the server has come to it
    until not (err and err.transient)
    assert.equal(later.run_id, assert(run, err).run_id)
  end)

  it("gives each run to one of four processes that claim side by side", function()
    for i = 1, 150 do assert(one:put("r" .. i, { thread_id = "t" .. i % 5, claimable = true })) end
    local children, claimed, count = {}, {}, 0
    for i = 1, 4 do
      children[i] = support.spawn([[
        local store = assert(keel.open((...)))
        store:session_id()
        say "ready"
        hear()
        local ids = {}
        while true do
          local run, err = store:claim_next()
          if err and not err.transient then error(tostring(err)) end
          if not run and not err then break end
          ids[#ids + 1] = run and run.run_id
        end
        say(table.concat(ids, " "))
      ]], { uri })
    end
    for _, child in ipairs(children) do child:expect "ready" end
    for _, child in ipairs(children) do child:say "go" end
    for _, child in ipairs(children) do
      for run_id in child:hear():gmatch "%S+" do
        assert.is_nil(claimed[run_id])
        claimed[run_id], count = true, count + 1
      end
      child:finish()
    end
    assert.equal(150, count)
    assert.same({}, one:verify())
  end)

  it("keeps off a claim of what concerns others, and of those behind it", function()
    local slots = { { name = "gpu", max = 1 } }
    assert(one:put("limited", { thread_id = "c", claimable = true, priority = 9, slots = slots }))
    assert(one:put("free", { thread_id = "d", claimable = true }))
    do
      local tx <close> = assert(one:begin { thread_id = "a" })
      assert(tx)
      busy(other:claim_next())
    end
    assert.equal("limited", assert(other:claim_next()).run_id)
    assert.equal("free", assert(other:claim_next()).run_id)
    assert.same({}, one:verify())
  end)

  it("lets one after the other look for an idempotency key, whatever threads they are on", function()
    local tx <close> = assert(one:begin { thread_id = "a", idempotency_key = "k", user_id = "u" })
    busy(other:begin { thread_id = "c", idempotency_key = "k", user_id = "u" })
    busy(other:put("keyed", { thread_id = "c", idempotency_key = "k", user_id = "u" }))
    local third <close> = assert(other:begin { thread_id = "c", idempotency_key = "k" })
    assert(tx and third)
  end)

  it("wants one of a thread and a run, and names that are names", function()
    local _, err = one:begin { thread_id = "a", run_id = "of_a" }
    assert.equal("invalid_request", err.code)
    _, err = one:begin { thread_id = "" }
    assert.equal("invalid_request", err.code)
    assert.equal("thread_id", err.field)
    _, err = one:begin { run_id = "a\0b" }
    assert.equal("run_id", err.field)
    assert.has_error(function() one:begin { thread = "a" } end)
  end)

  it("refuses what may concern any thread, until it is tried again", function()
    assert(one:put("free", { thread_id = "c", claimable = true }))
    for _, act in ipairs {
      function(tx) return tx:claim_next() end,
      function(tx) return tx:set_limit("gpu", { max = 1 }) end,
    } do
      local tx = assert(one:begin { thread_id = "a" })
      busy(act(tx))
      tx:rollback()
      local again <close> = assert(one:begin { thread_id = "a" })
      assert(act(again))
    end
  end)

  it("goes back to a savepoint with its locks and its events", function()
    local cursor = assert(one:read_events(nil, 20)).cursor
    local tx = assert(one:begin { thread_id = "a" })
    assert(tx:put("kept", { thread_id = "a" }))
    local mark = assert(tx:savepoint())
    assert(tx:update_status("of_b", "running"))
    assert.equal(2, #assert(tx:read_events(cursor, 20)).events)
    busy(other:update_status("of_b", "running"))
    assert(tx:rollback_to(mark))
    assert(other:update_status("of_b", "running"))
    assert(tx:update_status("of_b", "success"))
    busy(other:update_run_progress("of_b", { total_tokens = 1 }))
    assert(tx:commit())
    local kinds = {}
    for _, event in ipairs(assert(one:read_events(cursor, 20)).events) do
      kinds[#kinds + 1] = event.kind .. " " .. event.run_id
    end
    assert.same({ "run_started of_b", "run_created kept", "run_finished of_b" }, kinds)
    assert.same({}, one:verify())
  end)

  it("sees its own events before they are written, and undoes them with a savepoint", function()
    local cursor = assert(one:read_events(nil, 20)).cursor
    local tx <close> = assert(one:begin { thread_id = "a" })
    local function kinds()
      local list = {}
      for _, event in ipairs(assert(tx:read_events(cursor, 20)).events) do
        list[#list + 1] = event.kind
      end
      return table.concat(list, " ")
    end
    local mark = assert(tx:savepoint())
    assert(tx:update_status("of_a", "running"))
    local inner = assert(tx:savepoint())
    assert(tx:update_status("of_a", "success"))
    assert(tx:rollback_to(inner))
    assert.equal("run_started", kinds())
    assert(tx:update_status("of_a", "error"))
    assert.equal("run_started run_finished", kinds())
    assert(tx:rollback_to(mark))
    assert.equal("", kinds())
    assert(tx:update_status("of_a", "interrupted"))
    assert(tx:commit())
    local last = assert(one:read_events(cursor, 20)).events
    assert.equal(1, #last)
    assert.equal(3, last[1].id)
    assert.same({}, one:verify())
  end)
end)
