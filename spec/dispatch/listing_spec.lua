--- Listings and batches.
local keel = require "keel"
local support = require "support"

support.each_store(function(open)
  local store, dispatcher
  before_each(function()
    store = open { durability = "off" }
    dispatcher = keel.dispatcher { store = store }
  end)

  local function add(machine, fields)
    local record = { machine = machine, test_dir_hash = "h1" }
    for name, value in pairs(fields or {}) do record[name] = value end
    return assert(dispatcher:create(record))
  end

  it("DISPATCH-9: a thousand prepared runs are listed in pages, each once, in the order of insertion", function()
    local ids, listed = {}, {}
    for i = 1, 1000 do
      ids[i] = assert(dispatcher:prepare_atomic("m" .. i, "h", function() return { test_dir = "/srv/" .. i } end)).id
    end
    local after
    repeat
      local page = assert(dispatcher:list { after = after, limit = 96 })
      for _, run in ipairs(page) do listed[#listed + 1] = run.id end
      after = page[#page] and page[#page].id
      assert.is_true(#page <= 96)
    until #page < 96
    assert.same(ids, listed)
    assert.equal(1000, #dispatcher:list { limit = 1000 })
    assert.equal(100, #dispatcher:list())
  end)

  it("DISPATCH-9: list has every status, goes on behind runs that have ended, and knows its limits", function()
    local ended = add("m1", { status = "failed" })
    local active = add "m1"
    assert.same({ ended, active }, dispatcher:list())
    assert.same({ active }, dispatcher:list { after = ended.id })
    assert.same({}, dispatcher:list { after = active.id })
    support.refused("not_found", dispatcher:list { after = support.unknown_id() })
    support.invalid("limit", dispatcher:list { limit = 0 })
    local err = support.refused("limit_too_large", dispatcher:list { limit = 1001 })
    assert.same({ 1001, 1000 }, { err.requested, err.max })
    support.raises("befor", dispatcher.list, dispatcher, { befor = "x" })
  end)

  it("DISPATCH-9: active_by_machine gives the earliest active run, nil when idle", function()
    assert.same({ n = 1 }, table.pack(dispatcher:active_by_machine "m1"))
    add("m1", { status = "failed" })
    local run = add "m1"
    add "m2"
    assert.same(run, dispatcher:active_by_machine "m1")
    -- One that got there past the guard is later.
    assert(store:put("second", { thread_id = store:get(run.id).thread_id, operation_kind = "dispatch" }))
    assert.same(run, dispatcher:active_by_machine "m1")
    run.status = "completed"
    assert(dispatcher:update(run))
    assert.equal("second", dispatcher:active_by_machine("m1").id)
  end)

  it("DISPATCH-10: find gives every match, any status", function()
    local first, second = add("m1", { status = "failed" }), add "m1"
    add("m1", { status = "completed", test_dir_hash = "h2" })
    add "m2"
    assert.same({ first, second }, dispatcher:find_by_test_dir_hash_and_machine("h1", "m1"))
    assert.same({}, dispatcher:find_by_test_dir_hash_and_machine("h3", "m1"))
    for i = 1, 1500 do
      assert(store:put("run-" .. i, { thread_id = "keel.machine/m1", fingerprint = "h1", operation_kind = "dispatch",
        status = "success" }))
    end
    assert.equal(1502, #dispatcher:find_by_test_dir_hash_and_machine("h1", "m1"))
  end)

  it("DISPATCH-13: a batch has its runs in plan order, and a count of each status, of the moment", function()
    for i, entry in ipairs { "10", "9", "1/b", "1/a", "", "09", "x" } do
      add("m" .. i, { batch_id = "b", plan_entry = entry, status = i < 3 and "failed" or "pending" })
    end
    add("m99", { batch_id = "c" })
    local runs, counts = assert(dispatcher:batch "b")
    assert.same({ "1/a", "1/b", "9", "09", "10", "x" }, support.pluck(runs, "plan_entry"))
    assert.equal("m5", runs[7].machine) -- without an entry: last
    assert.same({ pending = 5, running = 0, completed = 0, failed = 2, interrupted = 0, timeout = 0 }, counts)
    runs[1].status = "running"
    assert(dispatcher:update(runs[1]))
    local _, now = assert(dispatcher:batch "b")
    assert.same({ 4, 1 }, { now.pending, now.running })
    assert.same({ {}, 0 }, { (dispatcher:batch "none"), select(2, dispatcher:batch "none").pending })
    support.invalid("batch_id", dispatcher:batch "")
  end)

  it("DISPATCH-13: leading zeros do not count, and equal entries stay in the order of insertion", function()
    local entries = { "11", "0010" }
    for i = 3, 40 do entries[i] = "5" end
    for i, entry in ipairs(entries) do add("m" .. i, { batch_id = "b", plan_entry = entry }) end
    local machines = support.pluck(assert(dispatcher:batch "b"), "machine")
    for i = 1, 38 do assert.equal("m" .. i + 2, machines[i]) end
    assert.same({ "m2", "m1" }, { machines[39], machines[40] })
  end)

  it("a batch is bounded", function()
    assert(store:transaction(function(tx)
      for i = 1, 10001 do
        assert(tx:put("run-" .. i, { thread_id = "keel.machine/m" .. i, batch_id = "b", operation_kind = "dispatch" }))
      end
    end))
    local err = support.refused("limit_too_large", dispatcher:batch "b")
    assert.equal(10000, err.max)
    assert(store:delete "run-1")
    assert.equal(10000, #dispatcher:batch "b")
  end)
end)
