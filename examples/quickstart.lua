-- Usage: quickstart.sh [DIRECTORY]      (default: this project's own tree)
--
-- A worker process admits a run for each file, a thread for each folder, and hashes the file with a real command. In
-- the middle of a run it is killed with SIGKILL. A second process, this one, recovers what it left and finishes the
-- work. In the end it draws what happened on the thread on which the worker was killed.
local keel = require "keel"

local FOLDERS, FILES = 6, 4 -- how many folders, and files of each: enough to see, quick to run

local function quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

local function lines_of(command)
  local lines = {}
  for line in keel.assert(io.popen(command)):lines() do lines[#lines + 1] = line end
  return lines
end

-- The work: a list of { folder, path }, and the number of folders.
local function find_work(directory)
  local work, count, folders = {}, {}, 0
  local find = "find . -mindepth 2 -type f -not -path '*/.*' -not -path './build/*'"
  for _, path in ipairs(lines_of("cd -- " .. quoted(directory) .. " && " .. find .. " | LC_ALL=C sort")) do
    local folder = path:match("^%./(.-)/[^/]*$")
    if not count[folder] and folders == FOLDERS then break end
    folders = folders + (count[folder] and 0 or 1)
    count[folder] = (count[folder] or 0) + 1
    if count[folder] <= FILES then work[#work + 1] = { folder = folder, path = path } end
  end
  return work, folders
end

-- One file, one run: admitted, started, done, finished.
local function hash(runs, directory, item, in_the_middle)
  local run = keel.assert(runs:create_or_reject(item.folder, { metadata = { path = item.path } }))
  keel.assert(runs:try_start(run.run_id))
  local sum = lines_of("cd -- " .. quoted(directory) .. " && sha256sum -- " .. quoted(item.path))[1]
  if in_the_middle then in_the_middle() end
  keel.assert(runs:update_run_completion(run.run_id, { status = "success", result = sum }))
end

local directory = arg[1] or (arg[0]:match("^(.*)/") or ".") .. "/.."

if arg[1] == "--worker" then
  local runs = keel.run_manager { store = keel.assert(keel.open(arg[3])) }
  for i, item in ipairs(find_work(arg[2])) do
    hash(runs, arg[2], item, i == tonumber(arg[4]) and function() os.execute "kill -9 $PPID" end)
    print(item.path) -- acknowledged: from here on it must not be lost
    io.stdout:flush()
  end
  return
end

local function give_up(...)
  io.stderr:write("quickstart: ", table.concat { ... }, "\nUsage: quickstart.sh [DIRECTORY]\n")
  os.exit(1)
end

if arg[2] then give_up("one directory, please, not ", #arg) end
if not os.execute("test -d " .. quoted(directory)) then give_up(directory, " is not a directory") end
local work, folders = find_work(directory)
if #work == 0 then give_up("there are no files in folders below ", directory) end
local path = lines_of("mktemp -d")[1] .. "/quickstart.db"
local killed_at = #work // 2 + 1

print(("1. A worker hashes %d files in %d folders: a run for each file, a thread for each folder."):format(#work,
  folders))
local acknowledged = lines_of(("%s %s --worker %s %s %d"):format(os.getenv "LUA" or "lua5.4", quoted(arg[0]),
  quoted(directory), quoted(path), killed_at))
print(("   %d are done. In the middle of %s it is killed: kill -9."):format(#acknowledged, work[killed_at].path))

local store = keel.assert(keel.open(path))
local runs = keel.run_manager { store = store }
local recovered = keel.assert(runs:reconcile_orphaned_inflight_runs { error = "the worker was killed" })
local done, lost = {}, 0
for _, run in ipairs(keel.assert(runs:list_runs { status = "success" })) do done[run.metadata.path] = true end
for _, file in ipairs(acknowledged) do lost = lost + (done[file] and 0 or 1) end
print(("2. The next process knows at once: %d run recovered, of %d that were done %d lost."):format(#recovered,
  #acknowledged, lost))
for _, item in ipairs(work) do
  if not done[item.path] then hash(runs, directory, item) end
end
print(("3. It has finished the rest: %d runs.\n"):format(#work - #acknowledged))

local thread = work[killed_at].folder
print(("What happened on the thread %s:"):format(thread))
local marks = { run_created = "┬ created ", run_started = "│ started ", run_finished = "┴ finished" }
for _, event in ipairs(keel.assert(store:read_events(nil, 256, { thread_id = thread })).events) do
  local data, run = event.data or {}, keel.assert(store:get(event.run_id))
  if data.error then print(("  %12s  session %s  ✗ killed"):format("", run.session_id)) end
  local what = event.kind == "run_created" and run.metadata.path or data.status or ""
  print((("  %s  session %s  %s  %s%s"):format(event.at:sub(12, 23), run.session_id, marks[event.kind], what,
    data.error and (": %s   ◄── by the next process"):format(data.error) or ""):gsub(" +$", "")))
end

print(("\nThe store is %s. Try next:"):format(path))
local keel_command = os.getenv "KEEL" or "keel"
print(("  %s --store %s runs list --status error"):format(keel_command, path))
print(("  %s --store %s exec --thread hello -- echo 'a command as a run'"):format(keel_command, path))
print(("  %s --store %s events --thread hello"):format(keel_command, path))
