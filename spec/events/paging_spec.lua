local keel = require "keel"
local support = require "support"

--- A store with forty events of two runs, two threads, two runtimes and four kinds, mixed.
local function filled(open)
  local store = open()
  assert(store:transaction(function(tx)
    for i = 1, 40 do
      assert(tx:append_event {
        kind = ({ "tick", "tock", "note", "other" })[i % 4 + 1],
        run_id = i % 3 ~= 0 and "run-" .. i % 2 or nil,
        thread_id = i % 5 ~= 0 and "thread-" .. i % 3 or nil,
        runtime_id = i % 7 == 0 and "runtime-" .. i % 2 or nil,
      })
    end
    return true
  end))
  return store
end

local function matches(event, filter)
  for _, name in ipairs { "run_id", "thread_id", "runtime_id" } do
    if filter[name] and event[name] ~= filter[name] then return false end
  end
  if not filter.kinds then return true end
  for _, kind in ipairs(filter.kinds) do
    if event.kind == kind then return true end
  end
  return false
end

--- What a reader sees that reads to the end in pages of `limit`, with each page's cursor sent through JSON.
local function read_to_end(store, limit, filter)
  local ids, cursor, pages = {}, nil, 0
  repeat
    local page = assert(store:read_events(cursor, limit, filter))
    assert.is_true(#page.events <= limit)
    for _, event in ipairs(page.events) do ids[#ids + 1] = event.id end
    cursor = keel.json.decode(keel.json.encode(page.cursor))
    pages = pages + 1
    assert.is_true(not page.has_more or #page.events > 0, "has_more on an empty page")
  until not page.has_more
  return ids, pages, cursor
end

support.each_store(function(open)
  describe("read_events", function()
    it("EVENT-3: gives every event exactly once, in order, whatever the size of the page", function()
      local store = filled(open)
      for _, limit in ipairs { 1, 2, 7, 39, 40, 41, 1000 } do
        local ids, pages = read_to_end(store, limit)
        assert.equal(40, #ids)
        for i, id in ipairs(ids) do assert.equal(i, id) end
        assert.equal(math.ceil(40 / limit), pages)
      end
    end)

    it("EVENT-3: says has_more exactly when there is more", function()
      local store = filled(open)
      assert.is_true(assert(store:read_events(nil, 39)).has_more)
      assert.is_false(assert(store:read_events(nil, 40)).has_more)
      assert.is_false(assert(store:read_events(nil, 41)).has_more)
      assert.is_true(assert(store:read_events(nil, 1, { run_id = "run-0" })).has_more)
    end)

    it("EVENT-3: a reader that caught up sees what comes later, once", function()
      local store = filled(open)
      local _, _, cursor = read_to_end(store, 7)
      local page = assert(store:read_events(cursor))
      assert.same({ {}, false }, { page.events, page.has_more })
      assert(store:append_event { kind = "late" })
      page = assert(store:read_events(page.cursor))
      assert.same({ 41 }, support.pluck(page.events, "id"))
      assert.same({}, assert(store:read_events(page.cursor)).events)
    end)

    it("EVENT-3: a filtered reader that caught up is not held back by what it does not want", function()
      local store = filled(open)
      local _, _, cursor = read_to_end(store, 5, { kinds = { "tick" } })
      for _, kind in ipairs { "tock", "tick", "tock" } do assert(store:append_event { kind = kind }) end
      assert.same({ 42 }, support.pluck(assert(store:read_events(cursor, 10, { kinds = { "tick" } })).events, "id"))
    end)

    it("EVENT-3: gives 256 unless told, and 1000 at most; other limits are errors", function()
      local store = open()
      assert(store:transaction(function(tx)
        for _ = 1, 1001 do assert(tx:append_event { kind = "tick" }) end
        return true
      end))
      assert.equal(256, #assert(store:read_events()).events)
      assert.equal(1000, #assert(store:read_events(nil, 1000)).events)
      support.invalid("limit", store:read_events(nil, 0))
      support.invalid("limit", store:read_events(nil, -3))
      local err = support.refused("limit_too_large", store:read_events(nil, 1001))
      assert.same({ 1001, 1000 }, { err.requested, err.max })
    end)

    it("EVENT-3: a cursor is a plain table: next event, epoch", function()
      local store = filled(open)
      local cursor = assert(store:read_events(nil, 3)).cursor
      assert.equal(4, cursor.next_event_id)
      assert.is_string(cursor.epoch)
      assert.is_nil(getmetatable(cursor))
    end)

    it("EVENT-3: a cursor beyond the end reads nothing, without an error", function()
      local store = filled(open)
      local cursor = assert(store:read_events(nil, 40)).cursor
      cursor.next_event_id = 1000000
      local page = assert(store:read_events(cursor))
      assert.same({ {}, false }, { page.events, page.has_more })
    end)

    it("refuses the cursor of another store", function()
      local store, other = filled(open), filled(open)
      local cursor = assert(other:read_events(nil, 3)).cursor
      local err = support.refused("wrong_runtime", store:read_events(cursor))
      assert.not_equal(err.expected, err.actual)
    end)

    it("refuses a cursor that is none", function()
      local store = filled(open)
      local epoch = assert(store:read_events(nil, 1)).cursor.epoch
      for _, next_event_id in ipairs { 0, -1 } do
        support.refused("invalid_request", store:read_events { next_event_id = next_event_id, epoch = epoch })
      end
      assert.is_false(pcall(store.read_events, store, "start"))
      assert.is_false(pcall(store.read_events, store, nil, nil, { colour = "red" }))
    end)

    it("EVENT-4: filters equal a brute-force filter, for every combination, cursor and limit", function()
      local store = filled(open)
      local all = support.events(store)
      local choices = {
        run_id = { false, "run-0", "run-1", "nobody" },
        thread_id = { false, "thread-0", "thread-2" },
        runtime_id = { false, "runtime-0", "runtime-1" },
        kinds = { false, {}, { "tick" }, { "note", "tock" }, { "nothing" } },
      }
      for _, run_id in ipairs(choices.run_id) do
        for _, thread_id in ipairs(choices.thread_id) do
          for _, runtime_id in ipairs(choices.runtime_id) do
            for _, kinds in ipairs(choices.kinds) do
              local filter = { run_id = run_id or nil, thread_id = thread_id or nil, runtime_id = runtime_id or nil,
                kinds = kinds or nil }
              local expected = {}
              for _, event in ipairs(all) do
                if matches(event, filter) then expected[#expected + 1] = event.id end
              end
              for _, limit in ipairs { 1, 3, 1000 } do assert.same(expected, (read_to_end(store, limit, filter))) end
            end
          end
        end
      end
    end)

    it("EVENT-4: a filter finds what is far behind, however few there are", function()
      local store = open()
      local long = { runtime_id = ("r"):rep(3000), worker_id = "a" }
      local other = { runtime_id = long.runtime_id, worker_id = "b" }
      assert(store:transaction(function(tx)
        for i = 1, 700 do
          local is_wanted = i == 1 or i == 600
          assert(tx:append_event { kind = is_wanted and "wanted" or "note", thread_id = "t",
            worker_ref = is_wanted and long or i % 300 == 0 and other or nil, run_id = i % 2 == 0 and "even" or nil })
        end
      end))
      assert.same({ 1, 600 }, (read_to_end(store, 1, { kinds = { "wanted" } })))
      assert.same({ 1, 600 }, (read_to_end(store, 1, { kinds = { "wanted" }, thread_id = "t" })))
      assert.same({ 600 }, (read_to_end(store, 1, { kinds = { "wanted" }, run_id = "even" })))
      assert.same({ 1, 600 }, (read_to_end(store, 1, { worker_ref = long })))
      assert.same({ 300 }, (read_to_end(store, 1, { worker_ref = other })))
      assert.same({}, store:verify())
      assert(store:prune { keep_last = 50 })
      assert.same({}, (read_to_end(store, 1, { worker_ref = long })))
      assert.same({}, store:verify())
    end)

    it("EVENT-4: a filter holds from any cursor on", function()
      local store = filled(open)
      local all, epoch = support.events(store), assert(store:read_events(nil, 1)).cursor.epoch
      local filter = { run_id = "run-1", kinds = { "tick", "tock" } }
      for start = 1, 42 do
        local expected = {}
        for _, event in ipairs(all) do
          if event.id >= start and matches(event, filter) then expected[#expected + 1] = event.id end
        end
        local page = assert(store:read_events({ next_event_id = start, epoch = epoch }, 1000, filter))
        assert.same(expected, support.pluck(page.events, "id"))
      end
    end)
  end)
end)

describe("A cursor", function()
  after_each(support.clean_up)

  it("EVENT-3: goes on in another process, and after a restart", function()
    local path = support.path()
    local store = filled(function() return support.open(path) end)
    local cursor = assert(store:read_events(nil, 10)).cursor
    store:close()
    local child = support.spawn([[
      local store = assert(keel.open((...)))
      local page = assert(store:read_events(keel.json.decode(hear()), 10))
      say(page.events[1].id, #page.events, page.has_more)
      say(keel.json.encode(page.cursor))
    ]], { path })
    child:say(keel.json.encode(cursor))
    child:expect "11\t10\ttrue"
    local back = keel.json.decode(child:hear())
    local page = assert(support.open(path):read_events(back, 1000))
    assert.same({ 21, 20 }, { page.events[1].id, #page.events })
  end)
end)
