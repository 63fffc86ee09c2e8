-- shared.lua - lifecycles a second of one caller, and of 1, 16 and 50 coroutines that share commits, side by side.
--
-- A lifecycle is a guarded admission with 300 bytes of metadata, a start and a success with counters: three durable
-- changes, three events. "alone" is one caller of a manager on a plain store. The sides take turns in short slices
-- (A B C D, A B C D …), so that what else the machine does hits all of them; a ratio is that of the medians, over
-- "alone". The slower the disk, the greater it is: what is left when the flushes are shared is the processor's work.
--
-- Usage: lua5.4 tests/bench/shared.lua [--rounds N] [--slice SECONDS] [--durability NAME]
--   --rounds      slices a side (default 9)
--   --slice       seconds a slice (default 0.3)
--   --durability  full, normal, off or memory (default: full and normal)
-- Needs LUA_PATH and LUA_CPATH to find keel, built with the release preset.
local keel = require "keel"
local kernel = require "keel.kernel"

local options = { rounds = 9, slice = 0.3, durability = false }
for i = 1, #arg, 2 do
  local name = arg[i]:match "^%-%-(%l+)$"
  if not name or options[name] == nil then error("unknown option " .. arg[i], 0) end
  options[name] = tonumber(arg[i + 1]) or arg[i + 1] or error(arg[i] .. " must be given a value", 0)
end

local METADATA = { assistant = "researcher", source = "gateway", tags = { "nightly", "batch", "eu-west" },
  client = { name = "bench", version = "1.4.2" }, request_id = "6f1c2a7e-93d4-4b6e-8a52-1f0e7c9d3b11",
  note = ("what callers attach to a run "):rep(5) }

local function lifecycle(runs, thread_id)
  local run = assert(runs:create_or_reject(thread_id, { metadata = METADATA }))
  assert(runs:try_start(run.run_id) == "started")
  assert(runs:update_run_completion(run.run_id, { status = "success", total_input_tokens = 1200,
    total_output_tokens = 340, total_tokens = 1540, llm_call_count = 3, message_count = 8 }))
end

-- A side: how many lifecycles it does in so many seconds, on a store of its own.
local function alone(store)
  local runs = keel.run_manager { store = store }
  return function(seconds)
    local count, started = 0, kernel.monotonic()
    repeat
      lifecycle(runs, "t" .. count % 100)
      count = count + 1
    until kernel.monotonic() - started >= seconds
    return count / (kernel.monotonic() - started)
  end
end

local function sharing(coroutines)
  return function(store)
    local shared = keel.shared_commits(store)
    local runs = keel.run_manager { store = shared }
    return function(seconds)
      local count, busy, started = 0, 0, kernel.monotonic()
      local over = false
      for i = 1, coroutines do
        busy = busy + 1
        coroutine.wrap(function()
          while not over do
            lifecycle(runs, "t" .. i)
            count = count + 1
          end
          busy = busy - 1
        end)()
      end
      while busy > 0 do
        over = kernel.monotonic() - started >= seconds
        shared:flush()
      end
      return count / (kernel.monotonic() - started)
    end
  end
end

local sides = { { "alone", alone }, { "1", sharing(1) }, { "16", sharing(16) }, { "50", sharing(50) } }

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

local folder = os.tmpname()
os.remove(folder)
assert(os.execute("mkdir " .. folder))
print "durability  coroutines  lifecycles/s  over alone"
for _, durability in ipairs { "full", "normal", "off", "memory" } do
  local wanted = options.durability
  if wanted == durability or not wanted and (durability == "full" or durability == "normal") then
    local stores = {}
    for i, side in ipairs(sides) do
      local uri = durability == "memory" and ":memory:" or ("%s/%s-%d.db"):format(folder, durability, i)
      stores[i] = assert(keel.open(uri, { durability = durability ~= "memory" and durability or nil }))
      side.go, side.rates = side[2](stores[i]), {}
      side.go(options.slice) -- warm
    end
    for _ = 1, options.rounds do
      for _, side in ipairs(sides) do table.insert(side.rates, side.go(options.slice)) end
    end
    local base = median(sides[1].rates)
    for i, side in ipairs(sides) do
      local rate = median(side.rates)
      print(("%-10s  %10s  %12.0f  %10.2f"):format(durability, side[1], rate, rate / base))
      stores[i]:close()
    end
  end
end
os.execute("rm -r " .. folder)
