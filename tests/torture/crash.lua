--- Crashes of a PostgreSQL server: processes write to a store on it and read its log while the server and all its
--- processes are killed and started again, over and over. What was acknowledged must be there in the end, what a reader
--- of the log saw must stand where he saw it, nothing may be there twice, and nobody may have lost a run.
--
-- Usage: tests/torture/crash.sh [--seed N] [--crashes N] [--writers N] [--readers N] [--durability NAME] [--control]
--                               [--keep]
--
--   --crashes  how often the server goes down (default 5): three times of four by kill -9, else by an immediate stop
--   --control  all with durability = "normal", which may lose something: fails when nothing was lost, as the test would
--              not find a loss then
--   --keep     leaves the folder with the server's data and the ledgers
--
-- The last line says how much happened and how much was wrong; the exit status is 1 if anything was.
local folder_of_this = arg[0]:match "^(.*)/[^/]*$" or "."
package.path = folder_of_this .. "/?.lua;" .. package.path

local keel = require "keel"
local read_options = require "options"
local Server = require "server"
local uv = require "luv"

local options = read_options { seed = os.time(), crashes = 5, writers = 6, readers = 2, durability = "full",
  control = false, keep = false }
math.randomseed(math.tointeger(options.seed))
if options.control then options.durability = "normal" end

local folder = assert(uv.fs_mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/keel-crash-XXXXXX"))
assert(uv.fs_chmod(folder, tonumber("755", 8)))
local server = Server.start(folder .. "/server")
local uri = server.uri .. "&schema=crash"
local store = assert(keel.open(uri, { durability = options.durability }))

-- --- The processes ---------------------------------------------------------------------------------------------------

local children = {}

local function start(role, number)
  local child = { role = role, name = role .. number, ledger = ("%s/%s-%d"):format(folder, role, number),
    pipes = { uv.new_pipe() } }
  child.handle, child.pid = assert(uv.spawn(arg[-1] or "lua5.4", {
    args = { folder_of_this .. "/crash_client.lua", role, child.name, uri, child.ledger, options.durability,
      tostring(math.random(1 << 30)) },
    stdio = { child.pipes[1], 1, 2 },
  }, function(code, signal) child.code, child.signal = code, signal end))
  children[#children + 1] = child
end

local function turn(milliseconds, done)
  local over = false
  local timer = uv.new_timer()
  uv.update_time() -- what was done since the last turn took its time
  timer:start(milliseconds, 0, function() over = true end)
  local tick = uv.new_timer() -- what `done` looks at need not be an event
  tick:start(10, 10, function() end)
  while not over and not (done and done()) do uv.run "once" end
  timer:close()
  tick:close()
  uv.run "nowait"
end

for i = 1, options.writers do start("writer", i) end
for i = 1, options.readers do start("reader", i) end
turn(30000, function() -- until all are at work
  for _, child in ipairs(children) do
    local made = uv.fs_stat(child.ledger)
    if not made or made.size == 0 then return false end
  end
  return true
end)
local killed = 0
for _ = 1, options.crashes do
  turn(math.random(400, 900))
  if math.random(4) > 1 then
    server:kill()
    killed = killed + 1
  end
  server:restart()
end
turn(500)
local problems, lost, changed, twice, taken, unknown = {}, 0, 0, 0, 0, 0
local function problem(text, ...) problems[#problems + 1] = text:format(...) end
for _, child in ipairs(children) do child.pipes[1]:close() end
for _, child in ipairs(children) do
  turn(60000, function() return child.code ~= nil end)
  if child.code ~= 0 then
    problem("%s ended with %s, signal %s", child.name, tostring(child.code), tostring(child.signal))
    if not child.code then uv.kill(child.pid, "sigkill") end
  end
end

-- --- The judgement ---------------------------------------------------------------------------------------------------

store:close()
store = assert(keel.open(uri))
local log, notes, made = {}, {}, {}
local cursor, page
repeat
  page = assert(store:read_events(cursor, 1000))
  for _, event in ipairs(page.events) do
    log[event.id] = event
    if event.kind == "note" then
      if notes[event.message] then
        twice = twice + 1
        problem("%s was appended twice", event.message)
      end
      notes[event.message] = event
    elseif event.kind == "run_created" then
      if made[event.thread_id] then
        twice = twice + 1
        problem("%s was admitted twice", event.thread_id)
      end
      made[event.thread_id] = event
    end
  end
  cursor = page.cursor
until not page.has_more

local function loses(text, ...)
  lost = lost + 1
  if not options.control then problem(text, ...) end
end

local checks = {
  note = function(message, id)
    local event = notes[message]
    if not event or event.id ~= tonumber(id) then loses("event %s of %s is lost", id, message) end
  end,
  admitted = function(run_id)
    if not store:get(run_id) then loses("run %s is lost", run_id) end
  end,
  started = function(run_id)
    local run = store:get(run_id)
    if not run or run.status == "pending" then loses("the start of %s is lost", run_id) end
  end,
  finished = function(run_id)
    local run = store:get(run_id)
    if not run or run.status ~= "success" then loses("the end of %s is lost", run_id) end
  end,
  saw = function(id, kind, subject)
    local event = log[tonumber(id)]
    if not event or event.kind ~= kind or (event.message or event.thread_id or "-") ~= subject then
      changed = changed + 1
      if not options.control then problem("event %s, %s of %s, is another one", id, kind, subject) end
    end
  end,
  recovered = function(run_id)
    taken = taken + 1
    if not options.control then problem("run %s was taken from a process that lived", run_id) end
  end,
  stale = function(run_id)
    taken = taken + 1
    if not options.control then problem("run %s was lost by its owner, who lived", run_id) end
  end,
  unknown = function() unknown = unknown + 1 end,
  unexpected = function(...)
    if not options.control then problem("%s", table.concat({ ... }, " ")) end
  end,
}
local acknowledged, seen = 0, 0
for _, child in ipairs(children) do
  for line in io.lines(child.ledger) do
    local words = {}
    for word in line:gmatch "%S+" do words[#words + 1] = word end
    local what = table.remove(words, 1)
    if what == "saw" then
      seen = seen + 1
    elseif what ~= "unknown" and what ~= "unexpected" then
      acknowledged = acknowledged + 1
    end
    checks[what](table.unpack(words))
  end
end
for _, found in ipairs(assert(store:verify())) do
  if not options.control then problem("verify: %s", found.message) end
end
store:close()
server:stop()

if options.control and lost == 0 then problem "nothing was lost: the test would not see it" end
for i = 1, math.min(#problems, 30) do print("wrong: " .. problems[i]) end
print(("seed %d: %d crashes (%d by kill -9), durability %s, %d events; %d acknowledged, %d lost; %d seen by readers, "
  .. "%d changed; %d done twice, %d runs taken from the living, %d commits nobody knows of; %d wrong"):format(
  options.seed, options.crashes, killed, options.durability, #log, acknowledged, lost, seen, changed, twice, taken,
  unknown, #problems))
if not options.keep and #problems == 0 then os.execute(("rm -r '%s'"):format(folder)) else print("left: " .. folder) end
os.exit(#problems == 0 and 0 or 1)
