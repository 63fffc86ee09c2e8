-- dispatch.lua - what a prepare and an update of the test dispatcher cost beside few and many stored runs.
--
-- Three stores, with 100, 5000 and 100000 test runs that have ended, on a hundred machines. In short slices that take
-- turns (A B C A B C …), so that what else the machine does hits all: a prepare that creates a run, an update that ends
-- it, a prepare that finds the same content active, and one that finds another. What a slice made is deleted after it.
-- Printed are the medians of the rates a second, and how the larger stores compare to the smallest.
--
-- Usage: lua5.4 dispatch.lua [DURABILITY [ROUNDS]]       off, normal or full (default off); slices a store (default 21)
-- Needs LUA_PATH and LUA_CPATH to find keel, built with the release preset.
local keel = require "keel"
local kernel = require "keel.kernel"

local DURABILITY, ROUNDS = arg[1] or "off", tonumber(arg[2] or 21)
local SIZES, MACHINES, CALLS = { 100, 5000, 100000 }, 100, DURABILITY == "full" and 50 or 200
local OPERATIONS = { "created", "update", "reuse", "busy" }

local function make() return { test_dir = "/srv/tests/suite-17", batch_id = "nightly", plan_entry = "17" } end

-- A store with so many runs that have ended, and one active run on a machine of its own.
local function prepare_store(folder, size)
  local store = assert(keel.open(("%s/%d.db"):format(folder, size), { durability = DURABILITY }))
  local done = 0
  while done < size do
    assert(store:transaction(function(tx)
      for i = done + 1, math.min(done + 5000, size) do
        assert(tx:put("run-" .. i, { thread_id = "keel.machine/m" .. i % MACHINES, operation_kind = "dispatch",
          fingerprint = kernel.sha256("content " .. i % 1000), status = "success", exit_code = 0,
          multitask_strategy = "reuse", reconciler = "dispatcher_died", attempt = 1, batch_id = "batch-" .. i // 50,
          plan_entry = tostring(i % 50), kwargs = { test_dir = "/srv/tests/suite-" .. i % 1000 },
          logs_path = "/var/log/tests/" .. i }))
      end
      done = math.min(done + 5000, size)
    end))
  end
  local dispatcher = keel.dispatcher { store = store }
  assert(dispatcher:prepare_atomic("busy", "same", make))
  local rates = {}
  for _, name in ipairs(OPERATIONS) do rates[name] = {} end
  return { size = size, store = store, dispatcher = dispatcher, rates = rates, count = 0 }
end

local function timed(one, name, calls, fn)
  local start = kernel.monotonic()
  for i = 1, calls do fn(i) end
  local rates = one.rates[name]
  rates[#rates + 1] = calls / (kernel.monotonic() - start)
end

local function slice(one)
  local dispatcher, runs = one.dispatcher, {}
  timed(one, "created", MACHINES, function(i)
    local verdict
    runs[i], verdict = dispatcher:prepare_atomic("m" .. i, "content of " .. one.count, make)
    one.count = one.count + 1
    assert(verdict == "created")
  end)
  timed(one, "update", MACHINES, function(i)
    runs[i].status, runs[i].exit_code, runs[i].logs_path = "completed", 0, "/var/log/tests/new"
    assert(dispatcher:update(runs[i]))
  end)
  timed(one, "reuse", CALLS, function()
    assert(select(2, dispatcher:prepare_atomic("busy", "same", make)) == "reuse")
  end)
  timed(one, "busy", CALLS, function()
    assert(select(2, dispatcher:prepare_atomic("busy", "other", make)) == "busy")
  end)
  assert(one.store:transaction(function(tx)
    for _, run in ipairs(runs) do assert(tx:delete(run.id)) end
  end))
end

local function median(values)
  table.sort(values)
  return values[#values // 2 + 1]
end

local pipe = io.popen "mktemp -d"
local folder = pipe:read "l"
pipe:close()
local all = {}
for i, size in ipairs(SIZES) do all[i] = prepare_store(folder, size) end
for _ = 1, ROUNDS do
  for _, one in ipairs(all) do
    collectgarbage() -- a slice does not pay for what another left
    slice(one)
  end
end
print(("durability %s, medians of %d slices, calls a second"):format(DURABILITY, ROUNDS))
print(("%10s %12s %12s %12s %12s"):format("stored", table.unpack(OPERATIONS)))
for _, one in ipairs(all) do
  local cells = {}
  for i, name in ipairs(OPERATIONS) do
    local rate = median(one.rates[name])
    cells[i] = ("%7.0f %.2f"):format(rate, rate / median(all[1].rates[name]))
  end
  print(("%10d %12s %12s %12s %12s"):format(one.size, table.unpack(cells)))
  one.store:close()
end
os.execute("rm -r '" .. folder .. "'")
