--- Places in a transaction to come back to, and a transaction that is begun without waiting.
local support = require "support"

support.each_store(function(open)
  describe("A savepoint", function()
    local store, tx

    before_each(function()
      store = open()
      tx = assert(store:begin())
      assert(tx:put("before", { thread_id = "t" }))
    end)

    it("is where rolling back to it leads: rows, events and ids", function()
      local mark = tx:savepoint()
      assert.equal(1, mark)
      assert(tx:put("undone", { thread_id = "t" }))
      assert(tx:update_status("before", "running"))
      assert.is_true(tx:rollback_to(mark))
      assert(tx:put("after", { thread_id = "t" }))
      assert.is_true(tx:commit())
      assert.same({ "before", "after" }, support.pluck(store:list_inflight {}, "run_id"))
      assert.equal("pending", store:get("before").status)
      assert.same({ 1, 2 }, support.pluck(support.events(store), "id"))
    end)

    it("keeps what was done since when it is released", function()
      local outer = tx:savepoint()
      assert(tx:put("kept", { thread_id = "t" }))
      assert(tx:savepoint())
      assert.is_true(tx:release(outer))
      support.invalid("mark", tx:rollback_to(outer))
      assert(tx:commit())
      assert.is_not_nil(store:get "kept")
    end)

    it("ends with what was made after it", function()
      local outer = tx:savepoint()
      local inner = tx:savepoint()
      assert(tx:rollback_to(outer))
      support.invalid("mark", tx:release(inner))
      assert(tx:commit())
    end)

    it("is bounded in number, and no other mark is one", function()
      for _ = 1, 32 do assert(tx:savepoint()) end
      local err = support.refused("limit_too_large", tx:savepoint())
      assert.same({ 33, 32 }, { err.requested, err.max })
      for _, mark in ipairs { 0, -1, 33, math.maxinteger } do support.invalid("mark", tx:release(mark)) end
      support.raises("number", tx.rollback_to, tx, "first")
      assert(tx:commit())
    end)

    it("is no more when the transaction is over", function()
      local mark = tx:savepoint()
      assert(tx:commit())
      for _, method in ipairs { "savepoint", "release", "rollback_to" } do
        support.raises("over", tx[method], tx, mark)
      end
    end)
  end)
end)

describe("begin without waiting", function()
  after_each(support.clean_up)

  it("is busy at once while another writes, and a transaction like any otherwise", function()
    local path, slept = support.path(), 0
    local other = support.open(path)
    local store = support.open(path, { sleep = function() slept = slept + 1 end })
    assert(store:put("a", { thread_id = "t" }))
    local held = assert(other:begin())
    assert.is_true(support.refused("busy", store:begin { wait = false }).transient)
    assert.equal(0, slept)
    held:rollback()
    local tx <close> = assert(store:begin { wait = false })
    assert(tx:put("b", { thread_id = "t" }))
    assert(tx:commit())
    support.raises("colour", store.begin, store, { colour = 1 })
  end)
end)
