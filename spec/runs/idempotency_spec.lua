--- Asking twice with one key is asking once.
local keel = require "keel"
local support = require "support"

support.each_store(function(open)
  for _, method in ipairs { "create", "create_or_reject" } do
    describe(method .. " with an idempotency key", function()
      local clock, store, manager
      before_each(function()
        clock = support.clock()
        store = open { clock = clock.read, monotonic = clock.read, durability = "off" }
        manager = support.manager(store)
      end)

      --- Asks, with key "k" unless told otherwise.
      local function ask(options, thread_id)
        local given = { idempotency_key = "k" }
        for name, value in pairs(options or {}) do given[name] = value end
        return manager[method](manager, thread_id or "t", given)
      end

      local function rows(thread_id)
        return #store:list_by_thread(thread_id or "t")
      end

      it("RUN-32: makes a run like any other, not flagged", function()
        local run = assert(ask())
        assert.is_nil(run.idempotency_reused)
        assert.same({ "pending", "k" }, { run.status, run.idempotency_key })
        assert.is_true(rawequal(run, manager:get(run.run_id)))
        assert.equal("k", store:get(run.run_id).idempotency_key)
      end)

      it("RUN-32: the second time gives the first run, flagged on the caller's own copy only", function()
        local first = assert(ask { metadata = { k = "v" } })
        local again = assert(ask { metadata = { k = "v" } })
        assert.same({ first.run_id, true }, { again.run_id, again.idempotency_reused })
        assert.is_nil(first.idempotency_reused)
        assert.is_nil(manager:get(first.run_id).idempotency_reused)
        assert.is_nil(manager:list_by_thread("t")[1].idempotency_reused)
        assert.is_nil(store:get(first.run_id).idempotency_reused)
        assert.equal(first.status, again.status)
        assert.same({ k = "v" }, again.metadata)
      end)

      it("RUN-32: one row exists, one event, and the thread is no busier", function()
        for _ = 1, 5 do assert(ask()) end
        assert.equal(1, rows())
        assert.same({ "run_created" }, support.pluck(support.events(store), "kind"))
      end)

      it("RUN-32: a run that has started or ended is the first run still", function()
        local first = assert(ask())
        assert.equal("started", manager:try_start(first.run_id))
        assert.equal("running", assert(ask()).status)
        assert(manager:set_status(first.run_id, "success"))
        local again = assert(ask())
        assert.same({ first.run_id, "success", true }, { again.run_id, again.status, again.idempotency_reused })
      end)

      it("RUN-32: after a restart too", function()
        local first = assert(ask())
        manager = support.manager(store)
        local again = assert(ask())
        assert.same({ first.run_id, true }, { again.run_id, again.idempotency_reused })
      end)

      it("RUN-32: on another thread is idempotency_mismatch, naming the run", function()
        local first = assert(ask())
        local err = support.refused("idempotency_mismatch", ask({}, "u"))
        assert.equal(first.run_id, err.run_id)
        assert.equal(0, rows "u")
      end)

      local OTHERS = { assistant = { assistant_id = "b" }, kwargs = { kwargs = { n = 2 } },
        metadata = { metadata = { deep = { 1, 2, 3 } } } }
      for what, options in pairs(OTHERS) do
        it("RUN-32: with another " .. what .. " is idempotency_mismatch, and nothing changed", function()
          assert(ask { assistant_id = "a", kwargs = { n = 1 }, metadata = { deep = { 1, 2 } } })
          support.refused("idempotency_mismatch", ask(options))
          assert.same({ 1, 1 }, { rows(), #support.events(store) })
        end)
      end

      it("RUN-32: the payload is compared as JSON: the order of names does not count, types do", function()
        local one, two = {}, {}
        for _, name in ipairs { "a", "b", "c", "d" } do one[name] = name end
        for _, name in ipairs { "d", "c", "b", "a" } do two[name] = name end
        local first = assert(ask { metadata = one, kwargs = {} })
        assert.equal(first.run_id, assert(ask { metadata = two }).run_id)
        assert(ask({ idempotency_key = "n", metadata = { n = 1 } }, "u"))
        support.refused("idempotency_mismatch", ask({ idempotency_key = "n", metadata = { n = "1" } }, "u"))
      end)

      it("RUN-32: what is not payload may differ", function()
        local first = assert(ask { priority = 1 })
        assert.equal(first.run_id, assert(ask { priority = 2, model_name = "big" }).run_id)
      end)

      it("RUN-32: another user's equal key is another key, and so is nobody's", function()
        local function of(user_id) return { user_id = user_id, multitask_strategy = "allow" } end
        local ann, bob, nobody = assert(ask(of "ann")), assert(ask(of "bob")), assert(ask(of(nil)))
        assert.equal(3, rows())
        assert.equal(ann.run_id, assert(ask(of "ann")).run_id)
        assert.equal(bob.run_id, assert(ask(of "bob")).run_id)
        assert.equal(nobody.run_id, assert(ask(of(nil))).run_id)
        assert.equal(3, rows())
      end)

      it("RUN-32: another key is another run", function()
        local first = assert(ask())
        assert.not_equal(first.run_id, assert(ask({ idempotency_key = "K" }, "u")).run_id)
      end)

      it("RUN-32: without a key nothing is compared", function()
        for _ = 1, 2 do assert(manager[method](manager, "t", { multitask_strategy = "allow" })) end
        assert.equal(2, rows())
      end)

      it("RUN-32: a key expires after idempotency_ttl, and is then free for anything", function()
        local first = assert(ask { idempotency_ttl = 60 })
        clock.advance(59)
        assert.equal(first.run_id, assert(ask { idempotency_ttl = 60 }).run_id)
        clock.advance(1)
        local second = assert(ask({ metadata = { other = true } }, "u"))
        assert.not_equal(first.run_id, second.run_id)
        assert.is_nil(second.idempotency_reused)
        clock.advance(1e6)
        assert.equal(second.run_id, assert(ask({ metadata = { other = true } }, "u")).run_id)
      end)

      it("RUN-32: an idempotency_ttl longer than time itself ends with the last time there is", function()
        local run = assert(ask { idempotency_ttl = 1e300 })
        assert.matches("^9999%-12%-31", store:get(run.run_id).idempotency_expires_at)
      end)

      it("RUN-32: using a key again does not make it last longer", function()
        local first = assert(ask { idempotency_ttl = 10 })
        clock.advance(6)
        assert(ask { idempotency_ttl = 10 })
        clock.advance(6)
        assert.not_equal(first.run_id, assert(ask({ multitask_strategy = "allow" })).run_id)
      end)

      it("RUN-32: the key of a deleted run is free", function()
        local first = assert(ask())
        assert(manager:delete(first.run_id))
        assert.not_equal(first.run_id, assert(ask()).run_id)
      end)

      it("RUN-32: a run that could not be written leaves its key free", function()
        local overrides = { tx = { commit = support.fail(1, support.broken()) } }
        manager = support.manager((support.wrap(store, overrides)))
        assert.is_nil((ask()))
        local run = assert(ask())
        assert.is_nil(run.idempotency_reused)
        assert.equal(1, rows())
      end)

      for what, ttl in pairs { ["0"] = 0, ["a negative time"] = -1, ["NaN"] = 0 / 0, ["for ever"] = math.huge } do
        it("an idempotency_ttl of " .. what .. " is invalid_request, and nothing is written", function()
          support.invalid("idempotency_ttl", ask { idempotency_ttl = ttl })
          assert.equal(0, #support.events(store))
        end)
      end

      for what, key in pairs { ["an empty text"] = "", ["257 bytes"] = ("x"):rep(257), ["a line break"] = "a\nb" } do
        it("RUN-32: " .. what .. " is no key: invalid_request", function()
          support.invalid("idempotency_key", ask { idempotency_key = key })
          assert.equal(0, #support.events(store))
        end)
      end

      it("a payload that is no JSON is invalid_request for its field", function()
        support.invalid("metadata", ask { metadata = { print } })
        support.invalid("kwargs", ask { kwargs = { print } })
      end)

      it("raises for a key or a time of a wrong type", function()
        support.raises("idempotency_key", ask, { idempotency_key = 42 })
        support.raises("idempotency_ttl", ask, { idempotency_ttl = "a day" })
      end)
    end)
  end

  describe("create_or_reject with an idempotency key", function()
    it("RUN-32: says reused, and asks no strategy", function()
      local manager, asked = support.manager(open { durability = "off" }), 0
      local options = { idempotency_key = "k", multitask_strategy = function()
        asked = asked + 1
        return { admit = true }
      end }
      local first, how = manager:create_or_reject("t", options)
      assert.equal("created", how)
      local again
      again, how = manager:create_or_reject("t", options)
      assert.same({ first.run_id, "reused", 1 }, { again.run_id, how, asked })
    end)

    it("RUN-32: reuses under reject and interrupt alike, and interrupts nobody", function()
      for _, strategy in ipairs { "reject", "interrupt", "enqueue", "debounce" } do
        local manager = support.manager(open { durability = "off" })
        local options = { idempotency_key = "k", multitask_strategy = strategy }
        local first = assert(manager:create_or_reject("t", options))
        local again, how = manager:create_or_reject("t", options)
        assert.same({ first.run_id, "reused", "pending" }, { again.run_id, how, first.status })
      end
    end)

    it("RUN-32: a refused run leaves its key free", function()
      local manager = support.manager(open { durability = "off" })
      local blocker = assert(manager:create "t")
      support.refused("conflict", manager:create_or_reject("t", { idempotency_key = "k" }))
      assert(manager:set_status(blocker.run_id, "success"))
      local run, how = manager:create_or_reject("t", { idempotency_key = "k" })
      assert.same({ "created", "k" }, { how, run.idempotency_key })
    end)

    it("RUN-32: both ways of creating share their keys", function()
      local manager = support.manager(open { durability = "off" })
      local first = assert(manager:create("t", { idempotency_key = "k" }))
      local again, how = manager:create_or_reject("t", { idempotency_key = "k" })
      assert.same({ first.run_id, "reused" }, { again.run_id, how })
      assert.is_true(assert(manager:create("t", { idempotency_key = "k" })).idempotency_reused)
    end)
  end)
end)

describe("[#sqlite] Processes that ask with the same key", function()
  after_each(support.clean_up)

  for _, method in ipairs { "create", "create_or_reject" } do
    it("RUN-32: " .. method .. " makes one run; every other answer is that run, reused", function()
      local path, children, runs, made = support.path(), {}, {}, 0
      local store = support.open(path)
      for i = 1, 4 do
        children[i] = support.spawn([[
          local path, method = ...
          local manager = keel.run_manager { store = assert(keel.open(path, { durability = "off" })) }
          say "ready" hear()
          local answers = {}
          for i = 1, 10 do
            local run = assert(manager[method](manager, "t" .. i, { idempotency_key = "k" .. i, kwargs = { i } }))
            answers[i] = { run_id = run.run_id, reused = run.idempotency_reused or false }
          end
          say(keel.json.encode(answers)) hear()
        ]], { path, method })
      end
      for _, child in ipairs(children) do child:expect "ready" end
      for _, child in ipairs(children) do child:say "go" end
      for _, child in ipairs(children) do
        for i, answer in ipairs(keel.json.decode(child:hear())) do
          runs[i] = runs[i] or answer.run_id
          assert.equal(runs[i], answer.run_id)
          if not answer.reused then made = made + 1 end
        end
      end
      assert.equal(10, made)
      assert.equal(10, #support.events(store))
    end)
  end
end)

describe("A key whose run did not come to its end", function()
  local new_pair = require "support.pair"
  after_each(support.clean_up)

  it("F-24: may run again when the owner was lost, before anybody has recovered it", function()
    local pair = new_pair()
    for _, method in ipairs { "create", "create_or_reject" } do
      local store = support.open(pair.path, { durability = "off" })
      local dead = support.manager(store)
      local lost = assert(dead[method](dead, method, { idempotency_key = method }))
      assert(dead:try_start(lost.run_id))
      store:close()
      local run = assert(pair.ours[method](pair.ours, method, { idempotency_key = method }))
      assert.is_nil(run.idempotency_reused)
      assert.equal("error", pair.ours_store:get(lost.run_id).status)
      assert.is_true(assert(pair.ours[method](pair.ours, method, { idempotency_key = method })).idempotency_reused)
    end
  end)

  it("F-24: with idempotency_until only a success counts", function()
    local manager = support.manager(support.open ":memory:")
    local options = { idempotency_key = "k", idempotency_until = "success" }
    local failed = assert(manager:create_or_reject("t", options))
    assert.is_true(assert(manager:create_or_reject("t", options)).idempotency_reused)
    assert(manager:set_status(failed.run_id, "error"))
    assert.is_true(assert(manager:create_or_reject("t", { idempotency_key = "k" })).idempotency_reused)
    local run = assert(manager:create_or_reject("t", options))
    assert.not_equal(failed.run_id, run.run_id)
    assert(manager:set_status(run.run_id, "success"))
    assert.equal(run.run_id, assert(manager:create_or_reject("t", options)).run_id)
    support.invalid("idempotency_until", manager:create("t", { idempotency_until = "failure" }))
  end)

  it("F-24: a retry carries the key on, and the key then gives the new run", function()
    local manager = support.manager(support.open ":memory:")
    local old = assert(manager:create("t", { idempotency_key = "k" }))
    assert(manager:set_status(old.run_id, "error"))
    local new = assert(manager:create_or_reject("t", { idempotency_key = "k", retry_of = old.run_id }))
    assert.not_equal(old.run_id, new.run_id)
    assert.equal(new.run_id, assert(manager:create_or_reject("t", { idempotency_key = "k" })).run_id)
  end)

  it("F-24: numbers are compared as Lua does", function()
    local manager = support.manager(support.open ":memory:")
    local function with(n)
      return manager:create("t", { idempotency_key = "n", kwargs = { n = n, list = { n } } })
    end
    local run = assert(with(1))
    assert.equal(run.run_id, assert(with(1.0)).run_id)
    support.refused("idempotency_mismatch", with(1.5))
  end)
end)
