--- Subscriptions: what is stored comes first, then what is new, from any process, once and in order.
local keel = require "keel"
local kernel = require "keel.kernel"
local runtimes = require "support.runtime"
local support = require "support"

local worker_of, say = runtimes.worker, runtimes.say

-- The kinds of what a subscription gives until there is nothing for `timeout` seconds.
local function heard(subscription, timeout)
  local kinds = {}
  for event in subscription, timeout or 0 do kinds[#kinds + 1] = event.kind end
  return kinds
end

support.each_store(function(open)
  local store, runtime

  before_each(function()
    store = open()
    runtime = runtimes.open(store, { limits = { max_event_batch_items = 2 } })
  end)

  it("WORKER-17: gives what is stored, then what is new, then nothing", function()
    local subscription = assert(runtime:subscribe_events())
    local ref = worker_of(runtime)
    say(runtime, ref, "a", "b", "c")
    assert.same({ "runtime_started", "worker_created", "worker_input_accepted", "worker_input_accepted",
      "worker_input_accepted" }, heard(subscription))
    assert.same({}, heard(subscription))
    say(runtime, ref, "d")
    assert.equal("worker_input_accepted", assert(subscription:next(0)).kind)
    assert.is_nil(subscription:next(0))
  end)

  it("WORKER-17: can be made before any work, at the start and at the end", function()
    local from_start = assert(runtime:subscribe_events(assert(runtime:event_cursor_from_start())))
    local from_now = assert(runtime:subscribe_events(assert(runtime:event_cursor_now())))
    worker_of(runtime)
    assert.same({ "runtime_started", "worker_created" }, heard(from_start))
    assert.same({ "worker_created" }, heard(from_now))
  end)

  it("WORKER-17: is resumed by its cursor, at any place, without gap or double", function()
    local ref = worker_of(runtime)
    for i = 1, 11 do
      say(runtime, ref, "input " .. i)
      assert(store:append_event { kind = "noise" })
    end
    for pause = 1, 5 do
      local seen, cursor = {}, nil
      repeat
        local subscription <close> = assert(runtime:subscribe_events(cursor))
        local count = 0
        for _ = 1, pause do
          local event = subscription:next(0)
          if event then
            seen[#seen + 1] = event.id
            count = count + 1
          end
        end
        cursor = keel.json.decode(keel.json.encode(subscription:cursor()))
      until count < pause
      local wanted = {}
      for _, event in ipairs(support.events(store, { runtime_id = "rt" })) do wanted[#wanted + 1] = event.id end
      assert.same(wanted, seen)
    end
  end)

  it("WORKER-17: many at once do not disturb each other", function()
    local a, b = assert(runtime:subscribe_events()), assert(runtime:subscribe_events())
    worker_of(runtime)
    assert.equal("runtime_started", a:next(0).kind)
    assert.same({ "runtime_started", "worker_created" }, heard(b))
    assert.same({ "worker_created" }, heard(a))
  end)

  it("waits for as long as it is told, and no longer", function()
    local subscription = assert(runtime:subscribe_events(assert(runtime:event_cursor_now())))
    local started = kernel.monotonic()
    assert.is_nil(subscription:next(0.05))
    local waited = kernel.monotonic() - started
    assert.is_true(waited >= 0.05 and waited < 1)
    support.invalid("timeout", subscription:next(-1))
    support.invalid("timeout", subscription:next(0 / 0))
    worker_of(runtime)
    assert.equal("worker_created", subscription:next(math.huge).kind)
    support.raises("next", subscription.next, subscription, "soon")
  end)

  it("other runtimes' events neither end a wait nor are seen", function()
    local subscription = assert(runtime:subscribe_events(assert(runtime:event_cursor_now())))
    runtimes.open(store, { runtime_id = "other" })
    assert(store:append_event { kind = "noise" })
    assert.is_nil(subscription:next(0.02))
    worker_of(runtime)
    assert.equal("worker_created", subscription:next(0).kind)
  end)

  it("closed, it gives nothing more; closing twice is fine", function()
    local subscription = assert(runtime:subscribe_events())
    subscription:close()
    subscription:close()
    support.raises("closed", subscription.next, subscription, 0)
    assert.truthy(tostring(subscription):find("closed", 1, true))
  end)

  it("WORKER-17: closed in the middle of a page, its cursor is still at what it has not given", function()
    worker_of(runtime)
    local subscription = assert(runtime:subscribe_events())
    assert.equal("runtime_started", subscription:next(0).kind)
    local cursor = subscription:cursor()
    subscription:close()
    assert.same(cursor, subscription:cursor())
    assert.same({ "worker_created" }, heard(assert(runtime:subscribe_events(subscription:cursor()))))
  end)

  it("waits on a store that cannot wait", function()
    local plain = setmetatable({}, { __index = function(_, name)
      local method = name ~= "wait_events" and store[name]
      return method and function(_, ...) return method(store, ...) end
    end })
    local subscription = assert(runtimes.open(plain):subscribe_events(assert(runtime:event_cursor_now())))
    assert.is_nil(subscription:next(0))
    assert.is_nil(subscription:next(0.02))
    worker_of(runtime)
    assert.equal("worker_created", subscription:next(1).kind)
  end)

  it("says what kept it from reading", function()
    local wrapped = support.wrap(store, { read_events = support.fail(1, support.broken()) })
    local subscription = assert(runtimes.open(wrapped):subscribe_events())
    support.refused("store_corrupt", subscription:next(0))
    assert.equal("runtime_started", subscription:next(0).kind)
  end)

  it("WORKER-17: as an iterator raises what kept it from reading: a loop that ended would look complete", function()
    local wrapped = support.wrap(store, { read_events = support.fail(1, support.broken()) })
    local subscription, kinds = assert(runtimes.open(wrapped):subscribe_events()), {}
    local function follow()
      for event in subscription, 0 do kinds[#kinds + 1] = event.kind end
    end
    local ok, err = pcall(follow)
    assert.same({ false, "store_corrupt" }, { ok, err.code })
    follow()
    assert.same({ "runtime_started" }, kinds)
  end)
end)

describe("[#sqlite]", function()
  after_each(support.clean_up)

  it("WORKER-17: under a sleep that yields, a subscription waits in its coroutine", function()
    local slept = 0
    local store = support.open(support.path(), {
      sleep = function()
        slept = slept + 1
        coroutine.yield()
      end,
    })
    local runtime = runtimes.open(store)
    local subscription = assert(runtime:subscribe_events(assert(runtime:event_cursor_now())))
    local got
    local reader = coroutine.create(function() got = assert(subscription:next()) end)
    assert(coroutine.resume(reader))
    assert.is_nil(got)
    worker_of(runtime)
    repeat assert(coroutine.resume(reader)) until coroutine.status(reader) == "dead"
    assert.equal("worker_created", got.kind)
    assert.is_true(slept > 0)
  end)

  it("WORKER-17: hears of another process's work in time, all of it, in order", function()
    local path = support.path()
    local store = support.open(path)
    local runtime = runtimes.open(store, { limits = { max_event_batch_items = 7 } })
    local ref = worker_of(runtime)
    local subscription = assert(runtime:subscribe_events(assert(runtime:event_cursor_now())))
    local child = support.spawn([[
      local path, worker_id, count = ...
      local runtime = assert(keel.runtime { store = assert(keel.open(path)), runtime_id = "rt" })
      local ref = { runtime_id = "rt", worker_id = worker_id }
      say "ready"
      hear()
      for i = 1, tonumber(count) do
        assert(runtime:send_input(ref, { kind = "user", content = "input " .. i }))
        if i == 1 then hear() end
      end
    ]], { path, ref.worker_id, 200 })
    child:expect "ready"
    child:say "one"
    local first = assert(subscription:next(20))
    assert.equal(1, first.data.sequence)
    child:say "the rest"
    for sequence = 2, 200 do
      assert.equal(sequence, assert(subscription:next(20)).data.sequence)
    end
    child:finish()
    assert.is_nil(subscription:next(0))
  end)
end)
