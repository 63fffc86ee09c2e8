--- The torture: processes that admit, start, finish, cancel, give back and recover runs on the same few threads, while
--- they are killed, stopped and started anew at random; then the event log is replayed against a model (model.lua), and
--- compared with what was acknowledged to each process.
--
-- Usage: tests/torture/run.sh [--seed N] [--seconds N] [--processes N] [--lease] [--threads NAMES] [--kills N]
--                             [--durability NAME] [--store URI] [--keep] [--stop-gracefully]
--
--   --store        a new store elsewhere: a path, postgresql://…, or `postgres`, for a server of its own
--   --threads      only these of threads.lua, by name, with commas
--   --kills        goes on until so many processes were killed, in quick succession, instead of for a time
--   --lease        runs have leases of 0.3 s, and processes are stopped (SIGSTOP) for longer than that: what they write
--                  when they wake up must be refused
--   --stop-gracefully  sends SIGTERM in place of SIGKILL: what others can run is given back, no attempt is spent, and
--                  there is nothing to recover
--   --keep         leaves the folder with store and journals
--
-- The last line says how much happened and how much was wrong; the exit status is 1 if anything was.
local folder_of_this = arg[0]:match "^(.*)/[^/]*$" or "."
package.path = folder_of_this .. "/?.lua;" .. package.path

local keel = require "keel"
local model = require "model"
local read_options = require "options"
local uv = require "luv"

local options = read_options { seed = os.time(), seconds = 30, processes = 8, lease = false, durability = "normal",
  threads = "", kills = 0, store = "", keep = false, ["stop-gracefully"] = false }
math.randomseed(math.tointeger(options.seed))

local LEASE = 0.3
local folder = assert(uv.fs_mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/keel-torture-XXXXXX"))
local path, server = folder .. "/store", nil
if options.store == "postgres" then
  assert(uv.fs_chmod(folder, tonumber("755", 8)))
  server = require("server").start(folder .. "/server")
  path = server.uri .. "&schema=torture"
elseif options.store ~= "" then
  path = options.store
end
assert(keel.open(path, { durability = options.durability })):close()

-- --- The processes ---------------------------------------------------------------------------------------------------

local children, started, killed, stopped = {}, 0, 0, 0

local function start(slot)
  started = started + 1
  local child = { journal = ("%s/journal-%d"):format(folder, started), said = "",
    pipes = { uv.new_pipe(), uv.new_pipe() } }
  local seed = math.random(1 << 30)
  child.handle, child.pid = assert(uv.spawn(arg[-1] or "lua5.4", {
    args = { folder_of_this .. "/worker.lua", path, child.journal, tostring(seed), options.durability,
      tostring(options.lease and LEASE or 0), options.threads },
    stdio = { child.pipes[1], child.pipes[2], 2 },
  }, function(code, signal) child.code, child.signal = code, signal end))
  child.pipes[2]:read_start(function(_, data) child.said = child.said .. (data or "") end)
  children[slot] = child
  return child
end

local everybody = {}
local function start_and_note(slot) everybody[#everybody + 1] = start(slot) end

-- A short loop around the event loop; the only waiting there is.
local function turn(milliseconds, done)
  local over = false
  local timer = uv.new_timer()
  uv.update_time() -- the server took its time to start
  timer:start(milliseconds, 0, function() over = true end)
  while not over and not (done and done()) do uv.run "once" end
  timer:close()
  uv.run "nowait"
end

local function gone(child) return function() return child.code ~= nil end end

local function kill(slot)
  local child = children[slot]
  if child.code then return start_and_note(slot) end
  killed = killed + 1
  if options["stop-gracefully"] then
    turn(5000, function() return child.said ~= "" or child.code end) -- it hears from then on
    if child.stopped then uv.kill(child.pid, "sigcont") end
    uv.kill(child.pid, "sigterm")
  else
    child.killed = true
    uv.kill(child.pid, "sigkill")
  end
  turn(10000, gone(child))
  start_and_note(slot)
end

local function stop_for_a_while(slot)
  local child = children[slot]
  if child.code or child.stopped then return end
  stopped = stopped + 1
  child.stopped, child.was_stopped = true, true
  uv.kill(child.pid, "sigstop")
  local timer = uv.new_timer()
  timer:start(math.random(50, options.lease and 1000 or 300), 0, function()
    timer:close()
    child.stopped = false
    if not child.code then uv.kill(child.pid, "sigcont") end
  end)
end

for slot = 1, options.processes do start_and_note(slot) end
local began = uv.hrtime()
local share_of_kills = options.kills > 0 and 95 or options.lease and 20 or 60 -- of a hundred; the rest are stopped
local function go_on()
  if options.kills > 0 then return killed < options.kills end
  return (uv.hrtime() - began) / 1e9 < options.seconds
end
while go_on() do
  turn(options.kills > 0 and math.random(60) or math.random(20, 200))
  local slot = math.random(options.processes)
  if options.kills > 0 then turn(5000, function() return children[slot].said ~= "" or children[slot].code end) end
  if math.random(100) <= share_of_kills then kill(slot) else stop_for_a_while(slot) end
end
local took = (uv.hrtime() - began) // 1000000000
for _, child in pairs(children) do
  if child.stopped and not child.code then uv.kill(child.pid, "sigcont") end
  if not child.code then child.pipes[1]:write "stop\n" end
end
local patience = uv.hrtime() + 20 * 1000000000 -- for all of them together
for _, child in pairs(children) do
  turn(math.max(1, (patience - uv.hrtime()) // 1000000), gone(child))
  if not child.code then
    io.stderr:write("torture: process ", child.pid, " did not stop\n")
    uv.kill(child.pid, "sigkill")
    turn(10000, gone(child))
    child.hung = true
  end
end

-- --- The end ---------------------------------------------------------------------------------------------------------

local store = assert(keel.open(path, { durability = options.durability }))
local runs = keel.run_manager { store = store, settle_timeout = 0 }
local problems = {}
local function problem(text, ...) problems[#problems + 1] = text:format(...) end

repeat
  local recovered = assert(runs:reconcile_orphaned_inflight_runs())
  local run = runs:claim_next()
  while run do
    assert(runs:set_status(run.run_id, "success"))
    run = runs:claim_next()
  end
  for _, row in ipairs(assert(store:list_inflight { limit = 1000 })) do
    if row.claimable and not row.scheduled_at then runs:cancel(row.run_id) end
  end
until #recovered == 0 and #assert(store:list_inflight { limit = 1 }) == 0

-- --- The judgement ---------------------------------------------------------------------------------------------------

local events, cursor = {}, nil
local page
repeat
  page = assert(store:read_events(cursor, 1000))
  table.move(page.events, 1, #page.events, #events + 1, events)
  cursor = page.cursor
until not page.has_more
local rows = {}
for _, event in ipairs(events) do
  if event.run_id and not rows[event.run_id] then rows[event.run_id] = assert(store:get(event.run_id)) end
end
local judged = model.replay(events, rows)
for _, complaint in ipairs(judged.complaints) do problem("%s", complaint) end
for _, found in ipairs(assert(store:verify())) do problem("verify: %s", found.message) end

-- The attempt that a run had when the owner with this fence gave it back; nil: he did not.
local function attempt_given_back(run_id, fence)
  local started = false
  for _, event in ipairs(events) do
    if event.run_id == run_id and event.kind == "run_started" then started = event.data.fence == fence end
    if event.run_id == run_id and event.kind == "run_requeued" and started then return event.data.attempt end
  end
end

-- What each process was told must be so.
local acknowledged, stale, left, sessions = 0, 0, 0, {}
for _, child in ipairs(everybody) do
  if not child.killed and (child.code ~= 0 or child.hung) then
    problem("process %d ended with %s", child.pid, tostring(child.code))
  end
  local journal = io.open(child.journal)
  if not journal and not child.killed then problem("process %d left no journal", child.pid) end
  for line in journal and journal:lines() or function() end do
    local words = {}
    for word in line:gmatch "%S+" do words[#words + 1] = word end
    local what, id, fence, status = table.unpack(words)
    acknowledged = acknowledged + 1
    if what == "session" then
      sessions[tonumber(id)] = child
    elseif what == "unexpected" or what == "fault" then
      problem("process %d: %s", child.pid, line)
    elseif what == "stale" then
      stale = stale + 1
      -- Without leases nobody takes a run from a process that is there; one that was told to stop may be overtaken.
      local row = rows[id]
      local overtaken = row and row.cancel_requested_at or row and row.cancel_action
      if not options.lease and not overtaken then problem("process %d lost run %s (%s)", child.pid, id, fence) end
    elseif what == "left" then -- status: the attempt it had
      left = left + 1
      local attempt = attempt_given_back(id, tonumber(fence))
      if attempt ~= tonumber(status) then
        problem("run %s was given back with attempt %s, not %s", id, tostring(attempt), tostring(status))
      end
    elseif what == "admitted" and not rows[id] then
      problem("run %s was admitted and is gone", id)
    elseif what == "finished" then
      local row = rows[id]
      if not row then
        problem("run %s was finished and is gone", id)
      elseif row.status ~= status and not (status == "interrupted" and row.status == "error") then
        problem("run %s was finished as %s and is %s", id, status, row.status)
      elseif row.fence ~= tonumber(fence) and row.status ~= "interrupted" then
        problem("run %s was finished with fence %s and has %d: two owners", id, fence, row.fence)
      end
    end
  end
end
-- Whose runs were recovered was dead, or hung with a lease.
if not options.lease then
  for _, recovery in ipairs(judged.recovered) do
    local child = sessions[recovery.session_id]
    if child and not child.killed then
      problem("event %d recovered run %s of session %d, which lived", recovery.event.id, recovery.run_id,
        recovery.session_id)
    end
  end
end
store:close()
if server then server:stop() end

for i = 1, math.min(#problems, 30) do print("wrong: " .. problems[i]) end
print(("seed %d: %d s, %d processes (%d killed, %d stopped), %d events, %d runs, %d acknowledgements, %d recovered, "
  .. "%d left to others, %d stale writes refused, %d wrong"):format(options.seed, took, started, killed, stopped,
  #events, (function() local n = 0 for _ in pairs(rows) do n = n + 1 end return n end)(), acknowledged,
  #judged.recovered, left, stale, #problems))
if not options.keep and #problems == 0 then os.execute(("rm -r '%s'"):format(folder)) else print("left: " .. folder) end
os.exit(#problems == 0 and 0 or 1)
