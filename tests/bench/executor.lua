-- executor.lua - lifecycles a second of one caller, and of an executor with 16 and 50 runs in flight, side by side.
--
-- A lifecycle is a guarded admission with 300 bytes of metadata, a start and a success with counters: three durable
-- changes, three events. "one caller" does one after the other through a manager on a plain store. In an executor each
-- handler admits the next run and ends, so that there are N in flight at any time, half of them waiting to be started;
-- "claimed" are runs that anybody may claim. "raw SQLite" is one caller in plain C that makes the same reads and writes
-- with prepared statements (lifecycle.c). The sides take turns in short slices (A B C …, A B C …), so that what else
-- the machine does hits all of them; a ratio is that of the medians, over one caller. The slower the disk, the greater
-- it is: what is left when the flushes are shared is the processor's work, which "cpu" shows, in ms a lifecycle.
--
-- Usage: lua5.4 tests/bench/executor.lua [--rounds N] [--slice SECONDS] [--durability NAME] [--raw PROGRAM]
--   --rounds      slices a side (default 9)
--   --slice       seconds a slice (default 0.3)
--   --durability  full (default), normal, off or memory
--   --raw         the program lifecycle (default build/bench/tests/bench/lifecycle; left out if it is not there)
-- Needs luv, and LUA_PATH and LUA_CPATH to find keel, built with the release preset.
local keel = require "keel"
local kernel = require "keel.kernel"
local uv = require "luv"

local options = { rounds = 9, slice = 0.3, durability = "full", raw = "build/bench/tests/bench/lifecycle" }
for i = 1, #arg, 2 do
  local name = arg[i]:match "^%-%-(%l+)$"
  if not name or options[name] == nil then error("unknown option " .. arg[i], 0) end
  options[name] = tonumber(arg[i + 1]) or arg[i + 1] or error(arg[i] .. " must be given a value", 0)
end

local METADATA = { assistant = "researcher", source = "gateway", tags = { "nightly", "batch", "eu-west" },
  client = { name = "bench", version = "1.4.2" }, request_id = "6f1c2a7e-93d4-4b6e-8a52-1f0e7c9d3b11",
  note = ("what callers attach to a run "):rep(5) }

local function outcome()
  return { status = "success", total_input_tokens = 1200, total_output_tokens = 340, total_tokens = 1540,
    llm_call_count = 3, message_count = 8 }
end

-- The sides: each gives a function that does lifecycles for so many seconds and returns how many.
local function one_caller(store)
  local runs = keel.run_manager { store = store }
  return function(seconds)
    local count, started = 0, kernel.monotonic()
    repeat
      local run = assert(runs:create_or_reject("t" .. count % 100, { metadata = METADATA }))
      assert(runs:try_start(run.run_id) == "started")
      assert(runs:update_run_completion(run.run_id, outcome()))
      count = count + 1
    until kernel.monotonic() - started >= seconds
    return count
  end
end

local function executor(in_flight, claimable)
  return function(store)
    local runs = keel.run_manager { store = store }
    local until_then, count, chains = 0, 0, 0
    local function admit(chain)
      assert(runs:create_or_reject(chain, { metadata = METADATA, claimable = claimable }))
    end
    local made = assert(keel.executor { manager = runs, concurrency = in_flight, handlers = function(context)
      count = count + 1
      local chain, side = context.run.thread_id:match "^(%d+)(%l)$"
      if kernel.monotonic() < until_then then
        admit(chain .. (side == "a" and "b" or "a"))
      else
        chains = chains - 1
      end
      return outcome()
    end })
    made:start()
    return function(seconds)
      count, chains, until_then = 0, in_flight // 2, kernel.monotonic() + seconds
      for i = 1, chains do admit(i .. "a") end
      while chains > 0 or made:stats().running > 0 do uv.run "once" end
      return count
    end, function() made:stop() end
  end
end

local function raw_rate(seconds)
  local command = ("%s --durability %s --rounds 1 --slice %g"):format(options.raw, options.durability, seconds)
  local pipe <close> = assert(io.popen(command))
  return tonumber(pipe:read("a"):match "plain C%s+(%d+)/s")
end

local sides = {
  { "one caller", one_caller },
  { "16 in flight", executor(16) },
  { "50 in flight", executor(50) },
  { "16, claimed", executor(16, true) },
  { "50, claimed", executor(50, true) },
}

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

local folder = os.tmpname()
os.remove(folder)
assert(os.execute("mkdir " .. folder))
local durability = options.durability
for i, side in ipairs(sides) do
  local uri = durability == "memory" and ":memory:" or ("%s/%d.db"):format(folder, i)
  side.store = assert(keel.open(uri, { durability = durability ~= "memory" and durability or nil }))
  side.go, side.stop = side[2](side.store)
  side.rates, side.costs = {}, {}
  side.go(options.slice) -- warm
end
local raw = io.open(options.raw) and {}
for _ = 1, options.rounds do
  if raw then table.insert(raw, raw_rate(options.slice)) end
  for _, side in ipairs(sides) do
    local started, used = kernel.monotonic(), os.clock()
    local count = side.go(options.slice)
    table.insert(side.rates, count / (kernel.monotonic() - started))
    table.insert(side.costs, (os.clock() - used) / count * 1000)
  end
end
print(("%-14s  %12s  %15s  %6s"):format(durability, "lifecycles/s", "over one caller", "cpu"))
local base = median(sides[1].rates)
if raw then print(("%-14s  %12.0f  %15.2f"):format("raw SQLite", median(raw), median(raw) / base)) end
for _, side in ipairs(sides) do
  print(("%-14s  %12.0f  %15.2f  %6.3f"):format(side[1], median(side.rates), median(side.rates) / base,
    median(side.costs)))
  if side.stop then side.stop() end
  side.store:close()
end
os.execute("rm -r " .. folder)
