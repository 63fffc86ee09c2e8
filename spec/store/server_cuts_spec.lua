--- A lifecycle on a server's store, with the connection cut after N bytes of either side: whether a COMMIT without an
--- answer was done is found out, and nothing is done twice or lost.
---
--- Takes a sample of all N from a printed seed: KEEL_SEED chooses another one, KEEL_CUTS says how many of either side,
--- and KEEL_CUTS=all takes every N, which takes hours.
local keel = require "keel"
local proxies = require "support.proxy"
local support = require "support"

local seed = math.tointeger(tonumber(os.getenv "KEEL_SEED" or os.time()))
local sample = os.getenv "KEEL_CUTS" or "12"

-- Tries again what failed for a reason that passes, as a host does; counts what succeeded.
local function again(fn, ...)
  for _ = 1, 20 do
    local result, err = fn(...)
    if result ~= nil then return result end
    assert.is_true(type(err) == "table" and err.transient, tostring(err))
  end
  error "it fails again and again"
end

-- Admits a run, starts and ends it; claims one of two; takes a lease; appends an event.
local function live(store, runs, name)
  local run = again(runs.create_or_reject, runs, name)
  assert.equal("started", again(runs.try_start, runs, run.run_id))
  again(runs.update_run_completion, runs, run.run_id, { status = "success" })
  local claimed = again(runs.claim_next, runs)
  local grant = again(store.acquire_lease, store, name, { ttl = 60 })
  local event = again(store.append_event, store, { kind = "note", message = name })
  return { run = run, claimed = claimed, grant = grant, event = event }
end

-- Every message of the log: how often.
local function count_notes(store, from)
  local counts, cursor = {}, from
  repeat
    local page = assert(store:read_events(cursor, 1000))
    for _, event in ipairs(page.events) do
      if event.kind == "note" then counts[event.message] = (counts[event.message] or 0) + 1 end
    end
    cursor = page.cursor
  until not page.has_more
  return counts, cursor
end

describe("A connection that is cut after N bytes", function()
  if not os.getenv "KEEL_TEST_POSTGRES" then return pending "KEEL_TEST_POSTGRES names no server" end
  local proxy, store, runs, witness, givers, cursor
  before_each(function()
    local uri = support.server_uri()
    witness = support.open(uri)
    givers = support.manager(support.open(uri))
    proxy = proxies.start(uri)
    store = support.open(proxy.uri)
    runs = support.manager(store, { retry = keel.retry_policy { max_attempts = 1 } })
    cursor = nil
  end)
  after_each(support.clean_up)

  local function offer()
    return assert(givers:create_or_reject("offered", { claimable = true, multitask_strategy = "enqueue" })).run_id
  end

  -- One lifecycle, which is cut; false: it is not as long as that.
  local function cut(side, n)
    local name = ("%s-%d"):format(side, n)
    local where = ("seed %d, %s, byte %d: "):format(seed, side, n)
    local offered = { offer(), offer() }
    again(store.session_id, store)
    proxy:lose "drop" -- all of it, from connecting on, goes by each time
    proxy:lose(side, n)
    local ok, told = pcall(live, store, runs, name)
    assert.is_true(ok, where .. tostring(told))
    local lost = proxy:told().lost
    proxy:lose "count"
    local list = assert(witness:list_by_thread(name))
    assert.equal(1, #list, where .. "admitted")
    assert.equal("run_created run_started run_finished",
      table.concat(support.pluck(support.events(witness, { run_id = told.run.run_id }), "kind"), " "), where)
    assert.equal("running", witness:get(offered[1]).status, where .. "claimed")
    assert.equal("pending", witness:get(offered[2]).status, where .. "claimed twice")
    assert.equal(told.claimed.run_id, offered[1], where)
    assert.equal(1, witness:get_lease(name).token, where .. "leased")
    local notes
    notes, cursor = count_notes(witness, cursor)
    assert.equal(1, notes[name], where .. "appended")
    assert.equal(name, told.event and name, where)
    again(runs.set_status, runs, offered[1], "success")
    assert(givers:cancel(offered[2]))
    return lost
  end

  for _, side in ipairs { "client", "server" } do
    it("PG-4: leaves nothing done twice and nothing acknowledged lost: by the " .. side, function()
      again(store.session_id, store)
      proxy:lose "drop"
      proxy:lose "count"
      offer()
      local measured = live(store, runs, "measured")
      local length = proxy:told()[side]
      again(runs.set_status, runs, measured.claimed.run_id, "success")
      assert.is_true(length > 1000)
      math.randomseed(seed)
      local lost, step = 0, math.max(1, length // (tonumber(sample) or length))
      for first = 1, length, step do
        lost = lost + (cut(side, first + math.random(0, step - 1)) and 1 or 0)
      end
      assert.is_true(lost >= length // step * 0.8, "cuts: " .. lost)
      assert.same({}, witness:verify())
    end)
  end
end)
