--- One bound over all tries and lock waits of a call.
local Client = require "keel.store.client"
local errors = require "keel.errors"
local keel = require "keel"
local kernel = require "keel.kernel"
local support = require "support"

describe("max_wait", function()
  after_each(support.clean_up)

  -- The seconds that a call of `make(store)` waits while another handle holds the write lock.
  local function waited(make, call)
    local path, slept = support.path(), 0
    local other = support.open(path, { durability = "off" })
    assert(other:put("r", { thread_id = "t" }))
    local store = support.open(path, { durability = "off", lock_timeout = 25, sleep = function(seconds)
      slept = slept + seconds
      kernel.sleep(seconds)
    end })
    local object = assert(make(store))
    local tx = assert(other:begin())
    local started = os.time()
    support.refused("busy", call(object))
    assert.is_true(os.time() - started < 10)
    tx:rollback()
    return slept
  end

  it("F-42: bounds lock_timeout and all tries of a manager, a dispatcher and a runtime", function()
    for _, max_wait in ipairs { 0, 0.2 } do
      local slept = waited(function(store) return keel.run_manager { store = store, max_wait = max_wait } end,
        function(runs) return runs:create "t" end)
      assert.is_true(slept <= max_wait + 0.15, slept)
      slept = waited(function(store) return keel.dispatcher { store = store, max_wait = max_wait } end,
        function(machines) return machines:prepare_atomic("m", "h", function() end) end)
      assert.is_true(slept <= max_wait + 0.15, slept)
    end
  end)

  -- What a store is told that it may wait, and the waits between tries, by a clock: a try takes a quarter of a second,
  -- and the host sleeps for twice as long as it should.
  local function bounds_of(max_wait)
    local at, bounds, waits = 0, {}, {}
    local store = { wait_at_most = function(_, seconds) bounds[#bounds + 1] = seconds end, get = function()
      at = at + 0.25
      return nil, errors.new("busy", "locked")
    end }
    local client = Client.new(store, keel.retry_policy { initial_delay = 0.5, jitter = 0, sleep = function(seconds)
      waits[#waits + 1], at = seconds, at + 2 * seconds
    end }, nil, max_wait)
    client.monotonic = function() return at end
    local _, err = client:call("get", "r")
    assert.equal("busy", err.code)
    return bounds, waits
  end

  it("F-42: leaves a further try, and the wait before it, what the tries before have left of it", function()
    local bounds, waits = bounds_of(2)
    assert.same({ 2, 0.75, 0 }, bounds)
    assert.same({ 0.5, 0.5 }, waits)
  end)

  it("F-42: is 5 seconds unless something else is said", function()
    assert.equal(5, bounds_of(nil)[1])
  end)

  it("F-42: is a number of seconds", function()
    local store = support.open ":memory:"
    for _, bad in ipairs { -1, math.huge, 0 / 0 } do
      support.invalid("max_wait", keel.run_manager { store = store, max_wait = bad })
      support.invalid("max_wait", keel.runtime { store = store, max_wait = bad })
      support.invalid("max_wait", keel.dispatcher { store = store, max_wait = bad })
    end
  end)
end)
