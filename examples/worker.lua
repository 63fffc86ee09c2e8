-- worker.lua - a worker on libuv: attempts with a backoff, progress that survives a stop, and SIGTERM.
--
-- Usage: lua5.4 worker.lua STORE     works until SIGTERM or SIGINT
--        lua5.4 worker.lua           makes jobs, and replaces a worker by another in the middle of them
-- keel must be on Lua's path, and luv installed.
local keel, uv = require "keel", require "luv"

local STEPS = 60

-- --- The worker ------------------------------------------------------------------------------------------------------

local handlers = {}

-- Renders frame by frame. What an earlier worker has done is in the run's progress, and is not done again.
function handlers.render(context)
  local progress = context.run.progress
  local done = progress and progress.done or 0
  for frame = done + 1, STEPS do
    local ok, err = context.sleep(0.02) -- the work
    if not ok then return nil, err end  -- asked to stop: the run is given back
    keel.assert(context.progress { done = frame, total = STEPS })
  end
  return { frames = STEPS, began_at = done }
end

-- Fails twice: tried again after the backoff, as long as the run has attempts left.
function handlers.upload(context)
  if context.run.attempt < 3 then return nil, { code = "unreachable", message = "the other side does not answer" } end
  return { attempts = context.run.attempt }
end

local function work(path)
  local store = keel.assert(keel.open(path, { owner = "worker" }))
  local executor = keel.assert(keel.executor {
    manager = keel.run_manager { store = store },
    handlers = handlers,
    interval = 0.1,
    backoff = keel.retry_policy { initial_delay = 0.1, backoff_factor = 2, max_delay = 60, jitter = 0.2 },
  })
  for _, name in ipairs { "sigterm", "sigint" } do
    local signal = uv.new_signal()
    signal:unref()
    signal:start(name, function() executor:stop { timeout = 0.05 } end) -- handlers may end for so long
  end
  local report = keel.assert(executor:run())
  print(("a worker stops: %d finished, %d given back"):format(#report.finished, #report.given_back))
  store:close()
end

if arg[1] then return work(arg[1]) end

-- --- The example -----------------------------------------------------------------------------------------------------

local folder = keel.assert(uv.fs_mkdtemp "/tmp/keel-worker-XXXXXX")
local store = keel.assert(keel.open(folder .. "/jobs.db"))
local runs = keel.run_manager { store = store }
local film = keel.assert(runs:create("film", { claimable = true, handler = "render", batch_id = "all" }))
local upload = keel.assert(runs:create("upload", {
  claimable = true, handler = "upload", batch_id = "all", max_attempts = 3, after = { film.run_id },
}))

local function start()
  return (keel.assert(uv.spawn(os.getenv "LUA" or "lua5.4", { args = { arg[0], folder .. "/jobs.db" },
    stdio = { nil, 1, 2 } })))
end

local first = start()
local progress
repeat
  store:sleep(0.01)
  progress = store:get(film.run_id).progress
until progress and progress.done >= 5
first:kill "sigterm" -- as a deploy does
local second = start()

local counts = keel.assert(runs:wait_batch("all", { timeout = 30 }))
local rendered = store:get(film.run_id)
print(("%d of %d succeeded"):format(counts.success, counts.total))
print(("film: attempt %d, the second worker went on after frame %d"):format(rendered.attempt,
  rendered.result.began_at))
print(("upload: attempt %d"):format(store:get(upload.run_id).result.attempts))
second:kill "sigterm"
uv.run()
store:close()
os.execute("rm -r " .. folder)
