--- The newest runs of a store.
local support = require "support"

support.each_store(function(open)
  describe("list_runs", function()
    it("gives the last inserted first, of all threads, page by page", function()
      local store = open()
      for i = 1, 5 do assert(store:put("r" .. i, { thread_id = "t" .. i % 2, user_id = i > 3 and "u" or nil })) end
      assert(store:update_status("r2", "running"))
      assert.same({ "r5", "r4", "r3", "r2", "r1" }, support.pluck(store:list_runs(), "run_id"))
      local page = store:list_runs { limit = 2 }
      assert.same({ "r3", "r2" }, support.pluck(store:list_runs { limit = 2, after = page[2].run_id }, "run_id"))
      assert.same({ "r2" }, support.pluck(store:list_runs { status = "running" }, "run_id"))
      assert.same({ "r5", "r4" }, support.pluck(store:list_runs { status = "pending", user_id = "u" }, "run_id"))
      assert.same({ "r3", "r1" }, support.pluck(store:list_runs { thread_id = "t1", after = "r5" }, "run_id"))
      assert.same({}, store:list_runs { thread_id = "t1", status = "running" })
    end)

    it("refuses what makes no sense", function()
      local store = open()
      support.invalid("status", store:list_runs { status = "done" })
      support.invalid("thread_id", store:list_runs { thread_id = "" })
      support.invalid("limit", store:list_runs { limit = 0 })
      support.refused("limit_too_large", store:list_runs { limit = 1001 })
      support.refused("not_found", store:list_runs { after = "nobody" })
      support.raises("thread", store.list_runs, store, { thread = "t" })
    end)
  end)
end)
