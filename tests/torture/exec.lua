--- The torture of keel exec: shells that run short real commands on the same few threads, all at once, while keel, its
--- guardians and the commands are killed at random; then it is counted what came of it.
--
-- Usage: tests/torture/exec.sh [--seed N] [--shells N] [--each N] [--threads N] [--kills N] [--strategy NAME] [--keep]
--
--   --each      commands a shell, one after the other (default 25, with 8 shells on 5 threads)
--   --kills     so many processes get SIGKILL: of keel, of its guardians, of the commands' shells (default 0)
--   --strategy  enqueue (default) or limit
--   --keep      leaves the folder
--
-- Each command takes a lock of its thread (flock), and fails if somebody has it, also when keel or a guardian was
-- killed. It does something real, and exits with a code of its own. What the shells saw is compared with the store:
-- every code is right, one run at a time on each thread, none lost, none in flight in the end, no command is left, and
-- processes that have nothing to do with it are alive. The last line says how much was wrong; the exit status is 1 if
-- anything was.
package.path = (arg[0]:match "^(.*)/[^/]*$" or ".") .. "/?.lua;" .. package.path

local keel = require "keel"
local read_options = require "options"
local uv = require "luv"

local options = read_options { seed = os.time(), shells = 8, each = 25, threads = 5, kills = 0, strategy = "enqueue",
  keep = false }
math.randomseed(options.seed)

local program = os.getenv "KEEL_PROGRAM" or "build/release/keel"
local folder = assert(uv.fs_mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/keel-torture-XXXXXX"))
local path = folder .. "/store"
local wrong = {}

local function check(fine, ...)
  if not fine then wrong[#wrong + 1] = (...):format(select(2, ...)) end
end

local function write(name, text)
  local file <close> = assert(io.open(folder .. "/" .. name, "w"))
  assert(file:write(text))
end

local function read(name)
  local file <close> = io.open(name:find "^/" and name or folder .. "/" .. name)
  return file and file:read "a" or ""
end

-- --- The commands ---------------------------------------------------------------------------------------------------

-- Arguments: folder, thread, number, how to lock.
write("work.sh", [[
echo $$ >"$1/pid-$3"
exec 9>"$1/lock-$2"
flock $4 9 || { echo "$3" >>"$1/overlap"; exit 99; }
printf '%s' "$3" | sha256sum >"$1/sum-$3"
sleep 0.00$(($3 % 10))
exit $(($3 % 7))
]])

-- Arguments: folder, shell, how to lock, program, strategy, and its commands as number:thread.
write("shell.sh", [[
folder=$1 shell=$2 lock=$3 program=$4 strategy=$5
shift 5
for work; do
	n=${work%:*} thread=${work#*:}
	"$program" exec --durability normal --thread "t$thread" --strategy "$strategy" --metadata "{\"n\":$n}" -- \
		sh "$folder/work.sh" "$folder" "$thread" "$n" "$lock" 2>>"$folder/said-$shell"
	echo "$n $?" >>"$folder/codes-$shell"
done
]])

uv.os_setenv("KEEL_STORE", path)
local shells, running = {}, 0

local function start(words, detached)
  local child = {}
  child.handle, child.pid = uv.spawn(words[1], { args = table.move(words, 2, #words, 1, {}),
    stdio = { nil, 1, 2 }, detached = detached }, function(code)
    child.code = code
    if child.is_shell then running = running - 1 end
  end)
  assert(child.handle, child.pid)
  return child
end

local function start_shell(index)
  local words = { "sh", folder .. "/shell.sh", folder, tostring(index), "-n", program,
    options.strategy }
  for i = 0, options.each - 1 do
    words[#words + 1] = ("%d:%d"):format(index * options.each + i, math.random(0, options.threads - 1))
  end
  local child = start(words)
  child.is_shell = true
  shells[#shells + 1], running = child, running + 1
end

local bystanders = { start { "sleep", "1000" }, start({ "sleep", "1000" }, true) }
local started = uv.hrtime()
for index = 0, options.shells - 1 do start_shell(index) end

-- --- The killing ----------------------------------------------------------------------------------------------------

local killed = { keel = 0, guardian = 0, command = 0 }
local kills = 0

local function children_of(pid)
  local list = {}
  for child in read(("/proc/%d/task/%d/children"):format(pid, pid)):gmatch "%d+" do
    list[#list + 1] = math.tointeger(tonumber(child))
  end
  return list
end

-- A process to kill: the keel that a shell waits for, its guardian (its child), or the command (the guardian's).
local function victim()
  local shell = shells[math.random(#shells)]
  local keel_pid = shell.code == nil and children_of(shell.pid)[1]
  if not keel_pid or not read(("/proc/%d/comm"):format(keel_pid)):find "^keel" then return nil end
  local kind = ({ "keel", "guardian", "command" })[math.random(3)]
  if kind == "keel" then return keel_pid, kind end
  local guardian = children_of(keel_pid)[1]
  return kind == "guardian" and guardian or guardian and children_of(guardian)[1], kind
end

local killer = uv.new_timer()
killer:start(1, 1, function()
  if kills >= options.kills or math.random(20) > 1 then return end
  local pid, kind = victim()
  if pid and uv.kill(pid, "sigkill") == 0 then
    kills, killed[kind] = kills + 1, killed[kind] + 1
  end
end)

local late = false
local deadline = uv.new_timer()
deadline:start(300000, 0, function() late = true end)
while running > 0 and not late do uv.run "once" end
check(not late, "the shells were not done after five minutes")
killer:close()
local seconds = (uv.hrtime() - started) / 1e9

-- --- What came of it ------------------------------------------------------------------------------------------------

for _, child in ipairs(bystanders) do
  check(child.code == nil and uv.kill(child.pid, 0) == 0, "somebody else was killed")
  child.handle:kill "sigkill"
end

-- Whoever comes next recovers what the killed have left.
for thread = 0, options.threads - 1 do
  local child = start { program, "exec", "--thread", "t" .. thread, "--strategy", "enqueue", "--wait", "20", "true" }
  while not child.code do uv.run "once" end
  check(child.code == 0, "thread t%d is blocked: %d", thread, child.code)
end

local store = assert(keel.open(path))
local rows, running_on, in_all = {}, {}, 0
local cursor
repeat
  local page = assert(store:read_events(cursor, 1000))
  cursor = page.cursor
  for _, event in ipairs(page.events) do
    if event.kind == "run_created" then
      in_all = in_all + 1
      local row = assert(store:get(event.run_id))
      check(row.status == "success" or row.status == "error", "run %s is %s", row.run_id, row.status)
      if row.metadata.n then rows[row.metadata.n] = row end
    elseif event.kind == "run_started" then
      check(not running_on[event.thread_id], "two runs at once on %s", event.thread_id)
      running_on[event.thread_id] = event.run_id
    elseif event.kind == "run_finished" and running_on[event.thread_id] == event.run_id then
      running_on[event.thread_id] = nil
    end
  end
until not page.has_more
check(next(running_on) == nil, "something still runs")
check(read "overlap" == "", "commands overlapped: %s", read "overlap")
for _, found in ipairs(assert(store:verify())) do check(false, "verify: %s", found.message) end
store:close()

local commands, ended_by_kill = 0, 0
for index = 0, options.shells - 1 do
  for n, code in read("codes-" .. index):gmatch "(%d+) (%d+)" do
    n, code = math.tointeger(tonumber(n)), math.tointeger(tonumber(code))
    commands = commands + 1
    local row = rows[n]
    if code == 137 then
      ended_by_kill = ended_by_kill + 1
    else
      check(code == n % 7, "command %d exited with %d", n, code)
      check(row and row.exit_code == code, "the exit code of command %d is not in the store", n)
      check(#read("sum-" .. n) > 60, "command %d has not worked", n)
    end
  end
end
check(commands == options.shells * options.each, "%d commands came back of %d", commands,
  options.shells * options.each)
check(ended_by_kill <= kills, "%d commands were killed, with %d kills", ended_by_kill, kills)

-- What the guardians have to kill may take a moment.
local function is_left(n)
  local pid = read("pid-" .. n):match "%d+"
  return pid and read(("/proc/%s/cmdline"):format(pid)):find(folder, 1, true)
end
local patience = uv.hrtime() + 5e9
for n = 0, commands - 1 do
  while is_left(n) and uv.hrtime() < patience do uv.sleep(5) end
  check(not is_left(n), "command %d is left", n)
end

for _, text in ipairs(wrong) do print("wrong: " .. text) end
if options.keep or #wrong > 0 then
  print("folder: " .. folder)
else
  os.execute("rm -r " .. folder)
end
print(("seed %d: %d commands in %.1f s on %d threads, %d runs, killed %d keel, %d guardians, %d commands; %d wrong")
  :format(options.seed, commands, seconds, options.threads, in_all, killed.keel, killed.guardian, killed.command,
    #wrong))
os.exit(#wrong == 0 and 0 or 1)
