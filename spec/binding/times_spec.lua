local kernel = require "keel.kernel"
local support = require "support"

local function stored(time)
  local store = support.open ":memory:"
  assert(store:put("r", { thread_id = "t", created_at = time }))
  return assert(store:get "r").created_at
end

describe("Times", function()
  after_each(support.clean_up)

  local SAME_INSTANT = {
    ["2026-11-21T02:16:41.123456+00:00"] = "2026-11-21T02:16:41.123456+00:00",
    ["2026-11-21T02:16:41.123456Z"] = "2026-11-21T02:16:41.123456+00:00",
    ["2026-11-21T04:16:41.123456+02:00"] = "2026-11-21T02:16:41.123456+00:00",
    ["2026-11-20T20:46:41.123456-05:30"] = "2026-11-21T02:16:41.123456+00:00",
    ["2026-11-21T02:16:41Z"] = "2026-11-21T02:16:41+00:00",
    ["2026-11-21T02:16:41.000000Z"] = "2026-11-21T02:16:41+00:00",
    ["2026-11-21T02:16:41.5Z"] = "2026-11-21T02:16:41.500000+00:00",
    ["2026-11-21T02:16:41.123456789Z"] = "2026-11-21T02:16:41.123456+00:00",
    ["2024-02-29T12:00:00Z"] = "2024-02-29T12:00:00+00:00",
    ["1969-12-31T23:59:59.999999Z"] = "1969-12-31T23:59:59.999999+00:00",
    ["2016-12-31T23:59:60Z"] = "2016-12-31T23:59:59+00:00",
    ["2027-01-01T00:30:00+01:00"] = "2026-12-31T23:30:00+00:00",
  }

  for given, shown in pairs(SAME_INSTANT) do
    it(("%s comes back as %s"):format(given, shown), function()
      assert.equal(shown, stored(given))
    end)
  end

  for _, given in ipairs {
    "", "now", "2026-11-21", "2026-11-21T02:16:41", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z",
    "2026-11-21T24:00:00Z", "2026-11-21T02:60:00Z", "2026-11-21T02:16:41.Z", "2026-11-21T02:16:41+25:00",
    "2026-11-21T02:16:41Z ", "20261121T021641Z", "2026-11-21T02:16:41.123456+00:00\0",
  } do
    it(("%q is no time"):format(given), function()
      local store = support.open ":memory:"
      support.invalid("created_at", store:put("r", { thread_id = "t", created_at = given }))
      assert.is_nil(store:get "r")
    end)
  end

  it("come from the clock the store was given, as it is", function()
    local clock = support.clock(1795227401.25)
    local store = support.open(":memory:", { clock = clock.read, monotonic = clock.read })
    assert(store:put("r", { thread_id = "t" }))
    assert.equal("2026-11-21T02:16:41.250000+00:00", assert(store:get "r").created_at)
    clock.advance(-1)
    assert(store:put("s", { thread_id = "t" }))
    assert.equal("2026-11-21T02:16:40.250000+00:00", assert(store:get "s").created_at)
  end)

  it("of the system are valid and move on", function()
    local store, before = support.open ":memory:", os.time()
    assert(store:put("r", { thread_id = "t" }))
    assert(store:put("s", { thread_id = "t" }))
    local first, other = store:get("r").created_at, store:get("s").created_at
    assert.matches("^20%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.?%d*%+00:00$", first)
    assert.not_equal(first, other)
    local seconds = assert(kernel.time_seconds(first))
    assert.is_true(before <= seconds and seconds < os.time() + 1.1) -- os.time() goes by a clock that ticks late
  end)

  it("filter as instants, not as texts", function()
    local store = support.open ":memory:"
    assert(store:put("early", { thread_id = "t", created_at = "2026-01-01T10:00:00Z" }))
    assert(store:put("late", { thread_id = "t", created_at = "2026-01-01T12:00:00Z" }))
    local found = assert(store:list_inflight { before = "2026-01-01T14:30:00+03:00" })
    assert.same({ "early" }, support.pluck(found, "run_id"))
  end)
end)
