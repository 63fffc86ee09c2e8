--- The pending runs of an executor: which threads are looked at, and when.
local Queue = require "keel.executor.queue"
local kernel = require "keel.kernel"

describe("The queue of an executor", function()
  local now, tried, verdicts, queue

  local function at(seconds) return kernel.time_text(seconds) end

  local function add(run_id, seconds)
    queue:add { run_id = run_id, thread_id = "thread-" .. run_id, status = "pending",
      scheduled_at = seconds and at(seconds) }
  end

  before_each(function()
    now, tried, verdicts = 1000, {}, {}
    local manager = { try_start = function(_, run_id)
      tried[#tried + 1] = run_id
      return verdicts[run_id] or "waiting"
    end }
    local live = { get = function(_, run_id)
      for _, thread in pairs(queue._threads) do
        for _, record in ipairs(thread.runs) do if record.run_id == run_id then return record end end
      end
    end }
    queue = Queue.new(manager, { now = function() return at(now) end, call = function() end }, live)
  end)

  it("has nothing to look at in the beginning", function()
    assert.is_false(queue:has_ready())
    assert.is_nil(queue:start())
    assert.is_nil(queue:due())
  end)

  it("looks at a thread whose delay is over, and leaves the others alone", function()
    add("soon", 1005)
    add("later", 1010)
    add("waiting")
    assert.is_nil(queue:start())
    assert.same({ "waiting" }, tried)
    assert.equal(1005, queue:due())
    for _, time in ipairs { 1000, 1004.9 } do
      queue:take_due(time)
      assert.is_false(queue:has_ready())
    end
    now = 1005
    queue:take_due(now)
    assert.is_true(queue:has_ready())
    verdicts.soon = "started"
    assert.equal("soon", queue:start().run_id)
    assert.is_nil(queue:start())
    assert.same({ "waiting", "soon" }, tried)
    assert.equal(1010, queue:due())
  end)

  it("looks at a thread again when it was told of it, once", function()
    add("a")
    assert.is_nil(queue:start())
    assert.is_true(queue:ready "thread-a")
    assert.is_true(queue:ready "thread-a")
    assert.is_nil(queue:start())
    assert.same({ "a", "a" }, tried)
    assert.is_false(queue:ready "unknown")
    assert.is_false(queue:has_ready())
  end)

  it("tries again a second after a start that the store has failed", function()
    verdicts.a = "broken"
    add("a")
    local told = 0
    queue.on_due = function() told = told + 1 end
    local try_start = queue._manager.try_start
    queue._manager.try_start = function(...) return nil, { code = "busy" }, try_start(...) end
    assert.is_nil(queue:start())
    assert.equal(1001, queue:due())
    assert.equal(1, told)
    assert.is_false(queue:has_ready())
    queue:take_due(1001)
    assert.is_true(queue:has_ready())
  end)
end)
