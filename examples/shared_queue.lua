-- Usage: lua5.4 shared_queue.lua [STORE]        (keel must be on Lua's path, and luv installed)
--
-- Two containers' worth of workers share a queue. STORE is a file, or postgresql://… for machines of their own; without
-- it a file in a new folder. Each container is a name space of processes where the system lets us make one (unshare, of
-- util-linux), else only a name. The jobs share three places of a slot, wherever they run. One worker is killed with
-- SIGKILL in the middle of its jobs: the others take them over, and none is lost or done by two at a time.
local keel = require "keel"
local uv = require "luv"

local LUA = os.getenv "LUA" or "lua5.4"
local JOBS, PLACES, TAKES = 24, 3, 0.1
local CONTAINERS = { "north", "south" }

-- --- A worker --------------------------------------------------------------------------------------------------------

local function work(uri, name)
  local store = keel.assert(keel.open(uri, { owner = name }))
  local runs = keel.run_manager { store = store }
  local executor = keel.assert(keel.executor {
    manager = runs,
    concurrency = 2,
    interval = 0.1,
    handlers = {
      render = function(context)
        context.event { kind = "began", message = name }
        if not context.sleep(TAKES) then return nil, "stopped" end
        return { by = name }
      end,
    },
  })
  local input = uv.new_pipe()
  input:open(0)
  input:read_start(function(_, data)
    if data then return end
    input:close() -- who has started us is gone, or done
    executor:stop { timeout = 5 }
  end)
  keel.assert(executor:run())
  store:close()
end

if arg[1] == "--worker" then return work(arg[2], arg[3]) end

-- --- The containers --------------------------------------------------------------------------------------------------

local APART <const> = { "unshare", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc" }
local can_part = os.execute(table.concat(APART, " ") .. " true >/dev/null 2>&1")

-- Starts a worker of a container.
local function start(uri, container, number)
  local words = can_part and { table.unpack(APART) } or {}
  table.move({ LUA, arg[0], "--worker", uri, container .. number }, 1, 5, #words + 1, words)
  local worker = { input = uv.new_pipe(), name = container .. number }
  worker.handle = keel.assert(uv.spawn(words[1], {
    args = table.move(words, 2, #words, 1, {}), stdio = { worker.input, 1, 2 },
  }, function() worker.handle:close() end))
  return worker
end

-- --- The example -----------------------------------------------------------------------------------------------------

local folder
local uri = arg[1]
if not uri then
  folder = keel.assert(uv.fs_mkdtemp "/tmp/keel-queue-XXXXXX")
  uri = folder .. "/queue.db"
end
local store = keel.assert(keel.open(uri))
local runs = keel.run_manager { store = store }
local batch = ("frames-%d-%d"):format(os.time(), uv.os_getpid())
for i = 1, JOBS do
  keel.assert(runs:create(("frame %d of %s"):format(i, batch), {
    claimable = true, handler = "render", batch_id = batch, slots = { { name = "gpu", max = PLACES } },
  }))
end

local workers = {}
for _, container in ipairs(CONTAINERS) do
  for number = 1, 2 do workers[#workers + 1] = start(uri, container, number) end
end

-- The log tells what happens anywhere. Reads on from a cursor: how many of our jobs run, at most too; who has begun.
local cursor, ours, running, most, begun, lost = nil, {}, 0, 0, {}, 0
local steps = { run_started = 1, run_finished = -1, run_requeued = -1 }
local function read_on()
  repeat
    local page = keel.assert(store:read_events(cursor, 1000))
    for _, event in ipairs(page.events) do
      if event.kind == "run_created" and event.thread_id:find(batch, 1, true) then ours[event.run_id] = true end
      if ours[event.run_id] then
        running = running + (steps[event.kind] or 0)
        most = math.max(most, running)
        if event.kind == "began" then begun[event.message] = true end
        if event.kind == "run_requeued" then lost = lost + 1 end
      end
    end
    cursor = page.cursor
  until not page.has_more
end

local victim = workers[1]
repeat
  keel.assert(store:wait_events(cursor, { timeout = 30 }))
  read_on()
until begun[victim.name]
victim.handle:kill "sigkill"
print(("%s was killed at its work"):format(victim.name))

local counts = keel.assert(runs:wait_batch(batch, { timeout = 60 }))
read_on()
for _, worker in ipairs(workers) do worker.input:close() end
uv.run() -- until they have gone

local done = {}
for _, run in ipairs(keel.assert(runs:list_runs { batch_id = batch, limit = JOBS })) do
  local by = run.result.by:match "^%a+"
  done[by] = (done[by] or 0) + 1
end
for _, container in ipairs(CONTAINERS) do print(("%s  %d jobs"):format(container, done[container] or 0)) end
print(("%d of %d are done, %d of them in a second try; %d at most ran at a time, of %d places"):format(counts.success,
  counts.total, lost, most, PLACES))
keel.assert(counts.success == JOBS and most <= PLACES and #keel.assert(store:verify()) == 0, "something is wrong")
store:close()
if folder then os.execute("rm -r " .. folder) end
