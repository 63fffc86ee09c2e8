--- What is counted: lifecycles of runs, so many of them. tests/cost/run.sh runs it under valgrind twice and takes the
--- difference, so that start-up does not count.
---
--- Usage: lua5.4 tests/cost/work.lua WHAT COUNT FILE
---   manager    create_or_reject with 330 bytes of metadata, try_start, update_run_completion: three commits and
---              events
---   pages      the same, in a store that has 20 000 of them; says how many frames they appended to the log
---   admission  only the first of these, each on a thread of its own
---   executor   the same lifecycle by an executor with 50 in flight; COUNT runs
--- FILE is the store; ":memory:" is one in memory. Durability off: nothing waits for a disk.
local keel = require "keel"

local what, count, path = arg[1], assert(math.tointeger(arg[2])), arg[3]
local METADATA = { assistant = "researcher", source = "gateway", tags = { "nightly", "batch", "eu-west" },
  client = { name = "bench", version = "1.4.2" }, request_id = "6f1c2a7e-93d4-4b6e-8a52-1f0e7c9d3b11",
  note = ("what callers attach to a run "):rep(5) }
local OUTCOME = { status = "success", total_input_tokens = 1200, total_output_tokens = 340, total_tokens = 1540,
  llm_call_count = 3, message_count = 8 }
local store, runs
local function open()
  store = assert(keel.open(path, { durability = "off" }))
  runs = keel.run_manager { store = store }
end
local function lifecycle(n)
  local run = assert(runs:create_or_reject("t" .. n % 100, { metadata = METADATA }))
  assert(runs:try_start(run.run_id) == "started")
  assert(runs:update_run_completion(run.run_id, OUTCOME))
end
open()

if what == "executor" then
  local made, ended, executor = 0, 0, nil
  local function admit(chain)
    if made == count then return end
    made = made + 1
    assert(runs:create_or_reject(chain, { metadata = METADATA }))
  end
  executor = assert(keel.executor { manager = runs, concurrency = 50, handlers = function(context)
    ended = ended + 1
    admit(context.run.thread_id .. "'")
    return OUTCOME
  end })
  for chain = 1, 50 do admit("t" .. chain) end
  executor:drain()
  assert(ended == count)
elseif what == "admission" then
  for n = 1, count do assert(runs:create_or_reject("t" .. n, { metadata = METADATA })) end
elseif what == "pages" then
  for n = 1, 20000 do lifecycle(n) end
  store:close()
  open()
  for n = 1, count do lifecycle(n) end
  -- Nothing has checkpointed the log yet while it is this small.
  local log <close> = assert(io.open(path .. "-wal", "rb"))
  local page = string.unpack(">I4", log:read(32), 9)
  io.stderr:write(("frames %d\n"):format((log:seek "end" - 32) // (page + 24)))
else
  for n = 1, count do lifecycle(n) end
end
store:close()
