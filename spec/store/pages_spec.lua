local keel = require "keel"
local support = require "support"

local MIB = 1 << 20

support.each_store(function(open)
  local function fill(store, count, bytes)
    assert(store:transaction(function(tx)
      for i = 1, count do
        assert(tx:put("r" .. i, { thread_id = "t", metadata = { text = ("x"):rep(bytes) }, claimable = true }))
      end
      return true
    end))
  end

  -- How many rows come in a page, and whether more follow.
  local function page(rows, more) return { #rows, more } end

  describe("F-52: a page ends at 4 MiB,", function()
    it("of runs, and says so", function()
      local store = open()
      fill(store, 10, MIB)
      assert.same({ 4, true }, page(store:list_by_thread "t"))
      assert.same({ 4, true }, page(store:list_inflight {}))
      assert.same({ 4, true }, page(store:list_inflight { thread_id = "t" }))
      assert.same({ 4, true }, page(store:list_runs {}))
      assert.same({ 4 }, page(store:list_runs { limit = 4 }))
      assert.same({ 10 }, page(store:list_inflight { brief = true }))
      local seen, after, more = {}
      repeat
        local rows
        rows, more = store:list_inflight { after = after }
        for _, row in ipairs(rows) do seen[#seen + 1] = row.run_id end
        after = rows[#rows].run_id
      until not more
      assert.equal("r1 r2 r3 r4 r5 r6 r7 r8 r9 r10", table.concat(seen, " "))
    end)

    it("but has one row at least", function()
      local store = open()
      fill(store, 2, 9 * MIB)
      assert.same({ 1, true }, page(store:list_by_thread "t"))
      local runs, err, is_cut = support.manager(store):list_by_thread "t"
      assert.same({ 1, nil, true }, { #runs, err, is_cut })
    end)

    it("of events: the cursor goes on where it ended", function()
      local store = open()
      for i = 1, 10 do assert(store:append_event { kind = "k", data = { n = i, text = ("x"):rep(MIB) } }) end
      local cursor, sizes, count = nil, {}, 0
      repeat
        local got = assert(store:read_events(cursor))
        sizes[#sizes + 1] = #got.events
        for _, event in ipairs(got.events) do
          count = count + 1
          assert.equal(count, event.data.n)
        end
        cursor = got.cursor
      until not got.has_more
      assert.same({ 4, 4, 2 }, sizes)
    end)

    it("of workers, of diagnostics and of a transcript", function()
      local store = open()
      assert(keel.runtime { store = store, runtime_id = "rt" })
      local text = ("x"):rep(MIB)
      for i = 1, 6 do
        assert(store:create_worker("rt", { worker_id = "w" .. i, intent = { text = text }, profile = {},
          requested_capabilities = {}, workspace_refs = {}, mount_refs = {} }))
      end
      assert.same({ 4, true }, page(store:list_workers "rt"))
      assert.same({ 2 }, page(store:list_workers("rt", { after = "w4" })))
      for i = 1, 6 do
        assert(store:record_diagnostic("rt", { severity = "info", code = "c" .. i, message = text }))
      end
      assert.same({ 4, true }, page(store:list_diagnostics "rt"))
      assert.same({ 2 }, page(store:list_diagnostics("rt", { after = 4 })))
      local ref = { runtime_id = "rt", worker_id = "w1" }
      for _ = 1, 6 do assert(store:send_worker_input("rt", ref, { kind = "user", content = text })) end
      local part = assert(store:read_transcript("rt", ref, {}))
      assert.same({ 4, 6, 4 }, { #part.items, part.total_items, part.next_start })
      part = assert(store:read_transcript("rt", ref, { start = 4 }))
      assert.same({ 2 }, { #part.items, part.next_start })
    end)

    it("and everything that walks pages sees all of it", function()
      local store = open()
      fill(store, 10, MIB)
      local runs = support.manager(store)
      assert.is_true(runs:has_inflight "t")
      -- Recovery: ten runs of nobody.
      for i = 1, 10 do assert(store:put("r" .. i, { claimable = false })) end
      assert.equal(10, #assert(runs:reconcile_orphaned_inflight_runs { error = "lost" }))
    end)
  end)

  it("F-22: one document of a run is read by itself, unless it is too long", function()
    local store = open()
    assert(store:put("r", { thread_id = "t", metadata = { a = 1 }, kwargs = { text = ("x"):rep(1000) } }))
    assert.same({ a = 1 }, (store:get_document("r", "metadata")))
    assert.equal(1000, #store:get_document("r", "kwargs").text)
    assert.same({ n = 3, [3] = 1011 }, table.pack(store:get_document("r", "kwargs", 1010)))
    assert.equal(1000, #store:get_document("r", "kwargs", 1011).text)
    assert.same({ n = 3, [3] = 0 }, table.pack(store:get_document("r", "result")))
    assert.is_nil((store:get_document("nobody", "kwargs")))
    support.invalid("name", store:get_document("r", "error"))
    support.invalid("run_id", store:get_document("", "kwargs"))
    local row = assert(store:list_inflight { brief = true })[1]
    assert.same({ "r", "pending" }, { row.run_id, row.status, row.metadata, row.kwargs })
  end)
end)
