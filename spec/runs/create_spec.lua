local support = require "support"

local RFC3339 = "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.?%d*%+00:00$"
local UUID7 = "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-7%x%x%x%-[89ab]%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$"

support.each_store(function(open)
  describe("A created run", function()
    it("RUN-1: is pending, echoes what was asked for, and has RFC 3339 times", function()
      local manager = support.manager(open())
      local run = assert(manager:create("t", {
        assistant_id = "a", metadata = { k = "v" }, kwargs = { n = 1 }, multitask_strategy = "interrupt",
      }))
      assert.same({ "pending", "t", "a", "interrupt" },
        { run.status, run.thread_id, run.assistant_id, run.multitask_strategy })
      assert.same({ k = "v" }, run.metadata)
      assert.same({ n = 1 }, run.kwargs)
      assert.matches(RFC3339, run.created_at)
      assert.matches(RFC3339, run.updated_at)
    end)

    it("RUN-1: is the very same table in get", function()
      local manager = support.manager(open())
      local run = assert(manager:create "t")
      assert.is_true(rawequal(run, manager:get(run.run_id)))
      assert.is_true(rawequal(run, manager:get(run.run_id)))
    end)

    it("RUN-1: is in the store with the same fields, owned by this session", function()
      local store = open()
      local run = assert(support.manager(store):create("t", { metadata = { k = "v" }, user_id = "u" }))
      local row = assert(store:get(run.run_id))
      assert.same({ "pending", "t", "u", store:session_id() },
        { row.status, row.thread_id, row.user_id, row.session_id })
      assert.same({ k = "v" }, row.metadata)
      assert.equal(run.created_at, row.created_at)
    end)

    it("RUN-1: has a UUID of version 7 that grows", function()
      local manager = support.manager(open())
      local last = ""
      for _ = 1, 20 do
        local run = assert(manager:create "t")
        assert.matches(UUID7, run.run_id)
        assert.is_true(last < run.run_id)
        last = run.run_id
      end
    end)

    it("RUN-2: has the defaults", function()
      for _, method in ipairs { "create", "create_or_reject" } do
        local manager = support.manager(open())
        local run = assert(manager[method](manager, "t"))
        assert.same({}, run.metadata)
        assert.same({}, run.kwargs)
        assert.same({ "reject", "cancel" }, { run.multitask_strategy, run.on_disconnect })
        assert.is_falsy(run.store_only)
        assert.is_nil(run.assistant_id)
      end
    end)

    it("RUN-2: has the abort event of an undisturbed run, and no task", function()
      local run = assert(support.manager(open()):create "t")
      assert.is_false(run.abort_event:is_set())
      assert.is_nil(run.abort_action)
      assert.is_nil(run.task)
    end)

    it("keeps its own copy of nothing it does not own: metadata is stored as it was", function()
      local store, metadata = open(), { list = { 1, 2 } }
      local run = assert(support.manager(store):create("t", { metadata = metadata }))
      metadata.list[3] = 3
      assert.same({ list = { 1, 2 } }, store:get(run.run_id).metadata)
    end)

    it("takes a whole number however Lua writes it, and says whose call was wrong", function()
      local manager = support.manager(open())
      local run = assert(manager:create("t", { priority = 2.0, max_attempts = 1e1 }))
      assert.equal("integer integer", math.type(run.priority) .. " " .. math.type(run.max_attempts))
      local _, message = pcall(function() return (manager:create("t", { priority = 2.5 })) end)
      assert.matches("create_spec%.lua:%d+: bad argument #2 to 'create' %(option 'priority' must be a whole number",
        message)
    end)

    it("RUN-4: needs no free thread: two creates both succeed and both list", function()
      local manager = support.manager(open())
      local one, two = assert(manager:create "t"), assert(manager:create "t")
      local listed = support.ids(manager:list_by_thread "t")
      assert.is_true(listed[one.run_id] and listed[two.run_id])
    end)

    it("RUN-4: is not stopped by create, whatever strategy it names", function()
      local manager = support.manager(open())
      local one = assert(manager:create "t")
      assert(manager:create("t", { multitask_strategy = "interrupt" }))
      assert.equal("pending", one.status)
      assert.is_false(one.abort_event:is_set())
    end)
  end)

  describe("A create that could not be written", function()
    local function nothing_is_left(manager, store)
      assert.same({}, manager:list_by_thread "t")
      assert.is_false(manager:has_inflight "t")
      assert.same({}, store:list_by_thread "t")
      assert.equal(0, #support.events(store))
    end

    for how, err in pairs { returned = support.broken(), raised = "no such table: runs" } do
      it("RUN-5: gives the error and leaves no run (error " .. how .. ")", function()
        local store = open()
        local wrapped, calls = support.wrap(store, { put = support.fail(math.huge, err) })
        local manager = support.manager(wrapped)
        local run, failure = manager:create "t"
        assert.is_nil(run)
        assert.matches("no such table", tostring(failure.message))
        assert.equal(1, calls.put)
        nothing_is_left(manager, store)
      end)

      for _, step in ipairs { "put", "commit" } do
        it(("RUN-5: the same for guarded create when %s fails (error %s)"):format(step, how), function()
          local store = open()
          local manager = support.manager((support.wrap(store, { tx = { [step] = support.fail(math.huge, err) } })))
          local run, failure = manager:create_or_reject "t"
          assert.is_nil(run)
          assert.matches("no such table", tostring(failure.message))
          nothing_is_left(manager, store)
        end)
      end

      it("RUN-5: the same for guarded create when begin fails (error " .. how .. ")", function()
        local store = open()
        local manager = support.manager((support.wrap(store, { begin = support.fail(math.huge, err) })))
        assert.is_nil((manager:create_or_reject "t"))
        nothing_is_left(manager, store)
      end)
    end

    it("RUN-5: is tried again when the error is transient, and then there is one run", function()
      local store = open()
      local manager = support.manager((support.wrap(store, {
        put = support.fail(2, support.busy()), tx = { commit = support.fail(1, support.busy()) },
      })))
      assert(manager:create "t")
      assert(manager:create_or_reject "u")
      assert.equal(1, #store:list_by_thread "t")
      assert.equal(1, #store:list_by_thread "u")
    end)
  end)
end)

describe("A manager without a store", function()
  it("keeps its runs to itself", function()
    local keel = require "keel"
    local one, two = keel.run_manager { store = ":memory:" }, keel.run_manager { store = ":memory:" }
    local run = assert(one:create "t")
    assert.equal("pending", one:get(run.run_id).status)
    assert.is_nil(two:get(run.run_id))
  end)
end)
