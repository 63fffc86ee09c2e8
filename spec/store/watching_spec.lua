--- Watching what takes long: backups and verify.
local support = require "support"

support.each_store(function(open, backend)
  describe("watch", function()
    local store, told

    before_each(function()
      store, told = open(), {}
      assert(store:transaction(function(tx)
        for i = 1, 40 do assert(tx:append_event { kind = "big", data = { text = ("x"):rep(100000), i = i } }) end
      end))
      store:watch(function(done, total) told[#told + 1] = { done, total } end)
    end)

    local function grows()
      for i, pair in ipairs(told) do
        assert.is_true(pair[1] <= pair[2])
        assert.is_true(i == 1 or pair[1] > told[i - 1][1])
      end
    end

    it("tells how far a backup has come", function()
      if backend == "postgres" then return assert.equal("not_supported", select(2, store:backup "copy").code) end
      assert(store:backup(support.path()))
      assert.is_true(#told >= 3)
      grows()
    end)

    it("tells how far verify has come", function()
      assert.same({}, store:verify())
      assert.is_true(#told >= 10)
      assert.equal(0, told[1][1])
      grows()
    end)

    it("tells nobody any more", function()
      store:watch()
      assert.same({}, store:verify())
      assert(store:get "r" == nil)
      assert.same({}, told)
    end)

    it("raises what is raised, when the operation is over", function()
      if backend == "postgres" then return end -- it is raised in a backup
      local path, calls = support.path(), 0
      store:watch(function()
        calls = calls + 1
        error("stop it", 0)
      end)
      support.raises("stop it", store.backup, store, path)
      assert.equal(1, calls)
      assert.same({}, support.open(path):verify())
      assert.same({}, store:verify())
      assert.equal(1, calls)
    end)

    it("keeps the store from whom it tells", function()
      for _, call in ipairs { "get", "close", "begin", "verify", "watch", "backup" } do
        local ok, message
        store:watch(function() ok, message = pcall(store[call], store, "x") end)
        assert.same({}, store:verify())
        assert.is_false(ok, call)
        assert.is_truthy(message:find("the store is at work", 1, true), call)
      end
      support.raises("function expected", store.watch, store, 3)
    end)

    it("has no part in what a transaction looks at", function()
      local tx <close> = assert(store:begin())
      assert.same({}, tx:verify())
      assert.same({}, told)
    end)
  end)
end)
