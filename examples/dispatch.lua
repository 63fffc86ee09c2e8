-- dispatch.lua - a CI dispatcher: test directories go to machines, one active test a machine, the same content once. It
-- is killed with SIGKILL while two tests run; the next one, this process, finds out, and goes on with what is not done.
--
-- Usage: lua5.4 dispatch.lua        (keel must be on Lua's path)
-- The machines are folders here: a copy of a directory is a delivery, a child process the machine's work.
local keel = require "keel"

local BATCH = "nightly"
local PLAN = {
  { entry = "1", suite = "parser", machine = "north", script = "echo 12 passed" },
  { entry = "2", suite = "network", machine = "south", script = "echo 7 passed" },
  { entry = "3", suite = "database", machine = "north", script = "echo 3 passed, 1 failed; exit 1" },
  { entry = "4", suite = "parser", machine = "north", script = "echo 12 passed" },
}

local function quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

local function run(command, ...)
  local words = { ... }
  for i, word in ipairs(words) do words[i] = quoted(word) end
  keel.assert(os.execute(command:format(table.unpack(words))), command)
end

-- Delivers a test directory and starts it there; each run has a folder of its own, so that what a dead dispatcher has
-- started cannot get in the way.
local function start_on(folder, test)
  local work = ("%s/%s/%s"):format(folder, test.machine, test.id)
  run("mkdir -p %s && cp -R %s/. %s", work, test.test_dir, work)
  test.logs_path = work .. "/log"
  return keel.assert(io.popen(("cd -- %s && sh ./run.sh >log 2>&1"):format(quoted(work)), "w"))
end

-- Starts an entry if its machine is idle. Returns the test and its process, and the verdict.
local function start(tests, folder, item)
  local directory = folder .. "/suites/" .. item.suite
  local hash = keel.assert(keel.dispatcher.hash_dir(directory))
  local test, verdict = keel.assert(tests:prepare_atomic(item.machine, hash, function()
    return { test_dir = directory, batch_id = BATCH, plan_entry = item.entry }
  end))
  print(("%-6s %-9s %s"):format(item.machine, item.suite, verdict))
  if verdict ~= "created" then return nil, nil, verdict end
  local process = start_on(folder, test)
  test.status = "running"
  return keel.assert(tests:update(test)), process, verdict
end

local function finish(tests, test, process)
  local _, how, code = process:close()
  test.status, test.exit_code = code == 0 and "completed" or "failed", code
  if code ~= 0 then test.error_code, test.error_msg = how, "see " .. test.logs_path end
  keel.assert(tests:update(test))
  print(("%-6s %-9s %s"):format(test.machine, test.test_dir:match "[^/]*$", test.status))
end

-- Works the plan off in rounds: starts what it can, and waits for that. Dies in the middle of a round if told so.
local function dispatch(tests, folder, dies)
  local left = {}
  local done = {}
  for _, test in ipairs(keel.assert(tests:batch(BATCH))) do
    if test.status == "completed" or test.status == "failed" then done[test.plan_entry] = true end
  end
  for _, item in ipairs(PLAN) do left[#left + 1] = not done[item.entry] and item or nil end
  while left[1] do
    local active, later = {}, {}
    for _, item in ipairs(left) do
      local test, process, verdict = start(tests, folder, item)
      if test then active[#active + 1] = { test, process } end
      if verdict == "busy" then later[#later + 1] = item end -- "reuse": the same content runs there already
    end
    if not active[1] then error "another dispatcher has all machines" end
    if dies then os.execute "kill -9 $PPID" end
    for _, one in ipairs(active) do finish(tests, table.unpack(one)) end
    left = later
  end
end

if arg[1] then -- the one that is killed
  io.stdout:setvbuf "line"
  return dispatch(keel.dispatcher { store = keel.assert(keel.open(arg[1] .. "/tests.db")) }, arg[1], true)
end

local folder = keel.assert(io.popen "mktemp -d"):read "l"
for _, item in ipairs(PLAN) do
  run("mkdir -p %s && echo %s >%s", folder .. "/suites/" .. item.suite, item.script,
    folder .. "/suites/" .. item.suite .. "/run.sh")
end
print "- a dispatcher that will be killed"
os.execute(("%s %s %s"):format(os.getenv "LUA" or "lua5.4", quoted(arg[0]), quoted(folder)))
local store = keel.assert(keel.open(folder .. "/tests.db"))
local recovered = keel.assert(keel.run_manager { store = store }:reconcile_orphaned_inflight_runs())
print(("- the next one: %d tests were interrupted"):format(#recovered))
local tests = keel.dispatcher { store = store }
dispatch(tests, folder)
local all, counts = keel.assert(tests:batch(BATCH))
print(("%d completed, %d failed, %d interrupted; the last: %s"):format(counts.completed, counts.failed,
  counts.interrupted, keel.assert(tests:to_json(all[#all]))))
