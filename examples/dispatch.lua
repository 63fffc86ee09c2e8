-- Usage: lua5.4 dispatch.lua        (keel must be on Lua's path, and busted installed)
--
-- Three test directories, made from this project's own specs, are sent to two machines, which are folders here: a copy
-- of the directory is a delivery, a child process the machine's work. The dispatcher is killed with SIGKILL while two
-- tests run. The next one, this process, finds out, and goes on with what is not done. In the end the batch is printed
-- as JSON.
local keel = require "keel"

local BATCH = "nightly"
local PLAN = {
  { entry = "1", suite = "json", spec = "spec/binding/json_spec.lua", machine = "north" },
  { entry = "2", suite = "times", spec = "spec/binding/times_spec.lua", machine = "south" },
  { entry = "3", suite = "strategies", spec = "spec/strategies/builtin_spec.lua", machine = "north" },
}

local function quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

local function line_of(command)
  local pipe <close> = keel.assert(io.popen(command))
  return pipe:read "l"
end

local function run(command, ...)
  local words = { ... }
  for i, word in ipairs(words) do words[i] = quoted(word) end
  keel.assert(os.execute(command:format(table.unpack(words))), command)
end

local LUA = os.getenv "LUA" or "lua5.4"
local ROOT = line_of("cd -- " .. quoted((arg[0]:match "^(.*)/" or ".") .. "/..") .. " && pwd")

-- --- The machines: all that a dispatcher knows of them ---------------------------------------------------------------

-- Delivers a test directory and starts it there; each run has a folder of its own.
local function start_on(folder, test)
  local work = ("%s/%s/%s"):format(folder, test.machine, test.id)
  run("mkdir -p %s && cp -R %s/. %s", work, test.test_dir, work)
  test.logs_path = work .. "/log"
  return keel.assert(io.popen(("cd -- %s && sh ./run.sh >log 2>&1"):format(quoted(work)), "w"))
end

-- --- The dispatcher --------------------------------------------------------------------------------------------------

-- The entries of the plan that no run has completed, in order.
local function left_of(tests)
  local done, left = {}, {}
  for _, test in ipairs(keel.assert(tests:batch(BATCH))) do
    if test.status == "completed" then done[test.plan_entry] = true end
  end
  for _, item in ipairs(PLAN) do
    if not done[item.entry] then left[#left + 1] = item end
  end
  return left
end

-- Starts an entry if its machine is idle. Returns the test and its process.
local function start(tests, folder, item)
  local directory = folder .. "/suites/" .. item.suite
  local hash = keel.assert(keel.dispatcher.hash_dir(directory))
  local test, verdict = keel.assert(tests:prepare_atomic(item.machine, hash, function()
    return { test_dir = directory, batch_id = BATCH, plan_entry = item.entry }
  end))
  print(("%-5s  %-10s %s"):format(item.machine, item.suite, verdict))
  if verdict ~= "created" then return nil end
  local process = start_on(folder, test)
  test.status = "running"
  return keel.assert(tests:update(test)), process
end

local function finish(tests, test, process)
  local _, how, code = process:close()
  test.status, test.exit_code = code == 0 and "completed" or "failed", code
  if code ~= 0 then test.error_code, test.error_msg = how, "see " .. test.logs_path end
  keel.assert(tests:update(test))
  print(("%-5s  %-10s %s"):format(test.machine, test.test_dir:match "[^/]*$", test.status))
end

-- Works the plan off. Dies after so many tests, when others have been started.
local function dispatch(tests, folder, dies_after)
  local left, active, finished = left_of(tests), {}, 0
  while left[1] or active[1] do
    local busy = {}
    for _, one in ipairs(active) do busy[one.test.machine] = true end
    for _ = 1, #left do
      local item = table.remove(left, 1)
      local test, process
      if not busy[item.machine] then test, process = start(tests, folder, item) end
      busy[item.machine] = true -- what is behind it in the plan waits for it
      if test then active[#active + 1] = { test = test, process = process } else left[#left + 1] = item end
    end
    if finished == dies_after then os.execute "kill -9 $PPID" end
    local first = table.remove(active, 1)
    if not first then error "another dispatcher has all machines" end
    finish(tests, first.test, first.process)
    finished = finished + 1
  end
end

if arg[1] == "--dispatcher" then -- the one that is killed
  io.stdout:setvbuf "line"
  return dispatch(keel.dispatcher { store = keel.assert(keel.open(arg[2] .. "/tests.db")) }, arg[2], 1)
end

-- --- The example -----------------------------------------------------------------------------------------------------

local busted = line_of "command -v busted"
if arg[1] or not busted then
  io.stderr:write("dispatch: ", arg[1] and "there are no options" or "busted is not installed",
    "\nUsage: lua5.4 dispatch.lua\n")
  os.exit(1)
end

local folder = line_of "mktemp -d"
for _, item in ipairs(PLAN) do
  local suite = folder .. "/suites/" .. item.suite
  run("mkdir -p %s && cp %s %s", suite, ROOT .. "/" .. item.spec, suite)
  local script <close> = keel.assert(io.open(suite .. "/run.sh", "w"))
  keel.assert(script:write(("export LUA_PATH=%s LUA_CPATH=%s\nexec %s %s --pattern=_spec .\n"):format(
    quoted(ROOT .. "/spec/?.lua;" .. package.path), quoted(package.cpath), LUA, busted)))
end

print "- a dispatcher that will be killed"
os.execute(("%s %s --dispatcher %s"):format(LUA, quoted(arg[0]), quoted(folder)))

local store = keel.assert(keel.open(folder .. "/tests.db"))
local tests = keel.dispatcher { store = store }
local recovered = keel.assert(keel.run_manager { store = store }:reconcile_orphaned_inflight_runs())
print(("- the next one: %d runs were interrupted"):format(#recovered))
dispatch(tests, folder)

local all, counts = keel.assert(tests:batch(BATCH))
local texts = {}
for i, test in ipairs(all) do texts[i] = keel.assert(tests:to_json(test)) end
print("[" .. table.concat(texts, ",\n ") .. "]")
print(("%d completed, %d failed, %d interrupted; all of it is in %s"):format(counts.completed, counts.failed,
  counts.interrupted, folder))
os.exit(counts.completed == #PLAN and #recovered == 2, true)
