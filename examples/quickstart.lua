-- Usage: quickstart.sh [DIRECTORY]      (default: this project's own tree)
--
-- A worker process admits a run for each file, a thread for each folder, and hashes the file with a real command. In
-- the middle of a run it is killed with SIGKILL. A second process, this one, recovers what it left and finishes the
-- work.
local keel = require "keel"

local FILES = 12 -- a folder: enough to see, quick to run

local function quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

local function lines_of(command)
  local lines = {}
  for line in keel.assert(io.popen(command)):lines() do lines[#lines + 1] = line end
  return lines
end

-- The work: a list of { folder, path }; and the folders.
local function find_work(directory)
  local work, folders, count = {}, {}, {}
  local find = "find . -mindepth 2 -type f -not -path '*/.*' -not -path './build/*'"
  for _, path in ipairs(lines_of("cd -- " .. quoted(directory) .. " && " .. find .. " | LC_ALL=C sort")) do
    local folder = path:match("^%./(.-)/[^/]*$")
    if not count[folder] then folders[#folders + 1] = folder end
    count[folder] = (count[folder] or 0) + 1
    if count[folder] <= FILES then work[#work + 1] = { folder = folder, path = path } end
  end
  return work, folders
end

-- One file, one run: admitted, started, done, finished.
local function hash(manager, directory, item, in_the_middle)
  local run = keel.assert(manager:create_or_reject(item.folder, { metadata = { path = item.path } }))
  keel.assert(manager:try_start(run.run_id))
  local sum = lines_of("cd -- " .. quoted(directory) .. " && sha256sum -- " .. quoted(item.path))[1]
  if in_the_middle then in_the_middle() end
  keel.assert(manager:update_run_completion(run.run_id, { status = "success", last_ai_message = sum }))
end

if arg[1] == "--worker" then
  local directory, path, kill_at = arg[2], arg[3], tonumber(arg[4])
  local manager = keel.run_manager { store = keel.assert(keel.open(path)) }
  for i, item in ipairs(find_work(directory)) do
    hash(manager, directory, item, i == kill_at and function() os.execute "kill -9 $PPID" end)
    print(item.path) -- acknowledged: from here on it must not be lost
    io.stdout:flush()
  end
  return
end

local function give_up(...)
  io.stderr:write("quickstart: ", ...)
  io.stderr:write("\nUsage: quickstart.sh [DIRECTORY]\n")
  os.exit(1)
end

local directory = arg[1] or (arg[0]:match("^(.*)/") or ".") .. "/.."
if arg[2] then give_up("one directory, please, not ", #arg) end
if not os.execute("test -d " .. quoted(directory)) then give_up(directory, " is not a directory") end
local work, folders = find_work(directory)
if #work == 0 then give_up("there are no files in folders below ", directory) end
local path = lines_of("mktemp -d")[1] .. "/quickstart.db"
local acknowledged = lines_of(("%s %s --worker %s %s %d"):format(os.getenv "LUA" or "lua5.4", quoted(arg[0]),
  quoted(directory), quoted(path), #work // 2 + 1))

local store = keel.assert(keel.open(path))
local manager = keel.run_manager { store = store }
local recovered = keel.assert(manager:reconcile_orphaned_inflight_runs { error = "the worker was killed" })

local finished, lost, page = {}, 0, nil
repeat
  page = keel.assert(store:read_events(page and page.cursor, 1000, { kinds = { "run_finished" } }))
  for _, event in ipairs(page.events) do
    if event.data.status == "success" then finished[store:get(event.run_id).metadata.path] = true end
  end
until not page.has_more
for _, file in ipairs(acknowledged) do lost = lost + (finished[file] and 0 or 1) end
for _, item in ipairs(work) do
  if not finished[item.path] then hash(manager, directory, item) end
end
for _, folder in ipairs(folders) do
  print(folder)
  for _, event in ipairs(keel.assert(store:read_events(nil, 256, { thread_id = folder })).events) do
    print("", event.at:sub(12, 23), event.kind, event.data.error or event.data.status or "",
      store:get(event.run_id).metadata.path)
  end
end
print(("%d runs done, %d recovered, %d lost; the store is %s"):format(#work, #recovered, lost, path))
