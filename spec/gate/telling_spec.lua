--- What the event of a run says of whom else it concerns: slots that are free, and who may find something to start.
local keel = require "keel"
local support = require "support"

support.each_store(function(open, backend)
  describe("The event of a run", function()
    local store, manager
    before_each(function() store, manager = support.managed(open) end)

    local function put(run_id, fields)
      fields.thread_id = fields.thread_id or run_id
      assert(store:put(run_id, fields))
      return run_id
    end
    local function slots(...)
      local list = {}
      for i, name in ipairs { ... } do list[i] = { name = name, max = 1 } end
      return list
    end
    local function last_data()
      local events = support.events(store)
      return events[#events].data or {}
    end
    -- What is said when a run has ended.
    local function said_by_end(run_id, as)
      assert(store:update_status(run_id, as or "success"))
      return last_data()
    end
    local function claim(run_id) assert.equal(run_id, assert(store:claim_next()).run_id) end

    it("GATE-4: names every slot that is free, when the run has come to rest and not before", function()
      claim(put("a", { claimable = true, slots = slots("gpu", "net") }))
      claim(put("b", { claimable = true, slots = slots "disk" }))
      put("waits", { claimable = true, slots = slots "disk" })
      assert.is_nil(store:claim_next())
      assert.same({ "gpu", "net" }, said_by_end("a").freed)
      assert(manager:cancel "b")
      assert.is_nil(last_data().freed)
      assert(manager:settle "b")
      local data = last_data()
      assert.same({ "disk" }, data.freed)
      assert.same({ "default" }, data.ready.handlers)
      claim "waits"
    end)

    it("GATE-4: says nothing of slots and of who may start where there is nobody and nothing", function()
      claim(put("a", { claimable = true }))
      local data = said_by_end "a"
      assert.same({}, { data.freed, data.ready })
    end)

    it("GATE-4: names the handlers of all lines in which something can start now", function()
      claim(put("a", { claimable = true, slots = slots "gpu" }))
      for _, handler in ipairs { "h1", "h2", "h3" } do
        put(handler, { claimable = true, handler = handler, slots = slots "gpu" })
      end
      put("other", { claimable = true, handler = "h4", scheduled_at = "2100-01-01T00:00:00Z" })
      assert.is_nil(store:claim_next())
      assert.same({ handlers = { "h1", "h2", "h3" }, sessions = keel.array {} }, said_by_end("a").ready)
    end)

    it("GATE-4: names who owns what is after the run, and the handlers of what nobody owns", function()
      local own = store:session_id()
      put("a", {})
      put("far", {})
      put("mine", { session_id = own, after = { "a" } })
      put("anybody's", { claimable = true, after = { "a" } })
      put("later", { claimable = true, handler = "h", after = { "a", "far" } })
      assert.same({ handlers = { "default" }, sessions = { own } }, said_by_end("a").ready)
    end)

    for what, fields_of in pairs {
      ["handlers"] = function(i) return { claimable = true, handler = ("h%02d"):format(i), after = { "a" } } end,
      ["sessions"] = function(i) return { session_id = 1000 + i, after = { "a" } } end,
    } do
      it("GATE-4: tells all when it concerns more than sixteen " .. what, function()
        for count = 16, 17 do
          put("a", {})
          for i = 1, count do put(("d%d of %d"):format(i, count), fields_of(i)) end
          local ready = said_by_end("a").ready
          if count == 16 then
            assert.is_nil(ready.all)
            assert.equal(16, #ready[what])
          else
            assert.same({ all = true }, ready)
          end
          assert(store:delete "a")
          for i = 1, count do assert(store:delete(("d%d of %d"):format(i, count))) end
        end
      end)
    end

    it("GATE-4: tells all when more than sixteen handlers have lines in which something can start", function()
      for count = 16, 17 do
        claim(put("a", { claimable = true, slots = slots "gpu" }))
        for i = 1, count do
          put("w" .. i, { claimable = true, handler = ("h%02d"):format(i), slots = slots "gpu" })
          put("v" .. i, { claimable = true, handler = ("h%02d"):format(i), slots = slots "gpu" })
        end
        assert.is_nil(store:claim_next())
        local ready = said_by_end("a").ready
        assert.same(count == 16 and { 16 } or { nil, true }, { ready.handlers and #ready.handlers, ready.all })
        for _, run_id in ipairs(support.pluck(assert(store:list_inflight()), "run_id")) do store:delete(run_id) end
        assert(store:delete "a")
      end
    end)

    if backend ~= "postgres" then
      it("GATE-4: tells all when more than a thousand are after the run", function()
        put("a", {})
        assert(store:transaction(function(tx)
          for i = 1, 1001 do assert(tx:put("d" .. i, { thread_id = "d", claimable = true, after = { "a" } })) end
        end))
        assert.same({ all = true }, said_by_end("a").ready)
      end)
    end
  end)
end)
