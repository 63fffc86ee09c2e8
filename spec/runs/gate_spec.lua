--- What a run may have to wait for before it starts.
local support = require "support"

support.each_store(function(open)
  describe("A run that waits", function()
    local function behind_all(_, inflight)
      return { admit = true, after = inflight, reason = "one after the other" }
    end

    it("for runs named in `after` starts when all of them have ended, however they ended", function()
      local store = open()
      local manager = support.manager(store)
      local first = assert(manager:create "t")
      local second = assert(manager:create "t")
      local third = assert(manager:create_or_reject("t", { multitask_strategy = behind_all }))
      assert.equal("waiting", manager:try_start(third.run_id))
      assert.equal("started", manager:try_start(first.run_id))
      assert(manager:set_status(first.run_id, "success"))
      assert.equal("waiting", manager:try_start(third.run_id))
      assert.equal("pending", third.status)
      assert(manager:fail_pending(second.run_id))
      assert.equal("started", manager:try_start(third.run_id))
      assert.equal("running", third.status)
    end)

    it("starts when the run before it was deleted", function()
      local manager = support.manager(open())
      local first = assert(manager:create "t")
      local second = assert(manager:create_or_reject("t", { multitask_strategy = behind_all }))
      assert(manager:delete(first.run_id))
      assert.equal("started", manager:try_start(second.run_id))
    end)

    it("says in its event what it is queued behind, and why", function()
      local store = open()
      local manager = support.manager(store)
      local first = assert(manager:create "t")
      local second = assert(manager:create_or_reject("t", { multitask_strategy = behind_all }))
      local events = store:read_events(nil, 10, { run_id = second.run_id, kinds = { "run_created" } }).events
      assert.same({ first.run_id }, { events[1].data.queued_behind[1] })
      assert.equal("one after the other", events[1].data.reason)
    end)

    it("can be cancelled while it waits", function()
      local manager = support.manager(open())
      assert(manager:create "t")
      local second = assert(manager:create_or_reject("t", { multitask_strategy = behind_all }))
      assert.same({ true, "cancelled" }, { manager:cancel(second.run_id) })
      assert.equal("cancelled", manager:try_start(second.run_id))
    end)
  end)

  describe("A reader of the log behind a filter", function()
    it("EVENT-3: that has read everything goes on at the end of the log, not at its last match", function()
      local store = open()
      assert(store:put("a", { thread_id = "mine" }))
      for i = 1, 5 do assert(store:put("b" .. i, { thread_id = "other" })) end
      local page = store:read_events(nil, 10, { thread_id = "mine" })
      assert.same({ 1, false }, { #page.events, page.has_more })
      assert.equal(7, page.cursor.next_event_id)
    end)
  end)
end)

describe("[#sqlite] interrupt on another process's running run", function()
  after_each(support.clean_up)

  it("asks its owner, and the newcomer waits until the owner has ended it", function()
    local path = support.path()
    local theirs, ours = support.manager(support.open(path)), support.manager(support.open(path))
    local old = assert(theirs:create "t")
    assert.equal("started", theirs:try_start(old.run_id))
    local new = assert(ours:create_or_reject("t", { multitask_strategy = "interrupt" }))
    local row = ours:get(old.run_id)
    assert.same({ "running", "interrupt" }, { row.status, row.cancel_action })
    assert.equal("waiting", ours:try_start(new.run_id))
    assert(theirs:set_status(old.run_id, "interrupted"))
    assert.equal("started", ours:try_start(new.run_id))
  end)

  it("set_status of a run that is taken over between look and write is stale_owner", function()
    local path = support.path()
    local mine, other = support.open(path), support.open(path)
    assert(mine:put("r", { thread_id = "t", status = "running" })) -- nobody's: an orphan
    local wrapped = support.wrap(mine, {
      get = function(forward, ...)
        local row = forward(...)
        if row.status == "running" then assert(other:claim_for_takeover("r", { error = "taken" })) end
        return row
      end,
    })
    support.refused("stale_owner", support.manager(wrapped):set_status("r", "success"))
    assert.same({ "error", "taken" }, { other:get("r").status, other:get("r").error })
  end)
end)
