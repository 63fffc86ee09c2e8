--- One process of the torture: admits, starts, works, cancels, gives back, recovers, at random, until it is told to
--- stop or dies. What was acknowledged to it goes into a journal of its own, line by line, before anything else is
--- done.
--
-- Usage: lua5.4 worker.lua STORE JOURNAL SEED DURABILITY LEASE_TTL(0: none) THREADS
package.path = (arg[0]:match "^(.*)/[^/]*$" or ".") .. "/?.lua;" .. package.path

local keel = require "keel"
local threads = require "threads"
local uv = require "luv"

local path, journal_path, seed, durability, lease_ttl, wanted = ...
lease_ttl = tonumber(lease_ttl)
local chosen = {} -- threads
for _, thread in ipairs(threads) do
  if wanted == "" or ("," .. wanted .. ","):find("," .. thread.id .. ",", 1, true) then
    chosen[#chosen + 1] = thread
  end
end
assert(#chosen > 0, "no such thread")
math.randomseed(math.tointeger(seed))
io.stdout:setvbuf "line"

local journal <const> = assert(io.open(journal_path, "a"))
journal:setvbuf "no"
local function note(...) assert(journal:write(table.concat({ ... }, " "), "\n")) end

local stopping, resume = false, nil
local input = assert(uv.new_pipe())
input:open(0)
input:read_start(function() stopping = true end)
local term = assert(uv.new_signal())
term:start("sigterm", function() stopping = true end)

-- The store waits through the loop, like a host with coroutines.
local function sleep(seconds)
  if not coroutine.isyieldable() then return uv.sleep(math.ceil(seconds * 1000)) end
  local timer = uv.new_timer()
  local this = assert(coroutine.running())
  timer:start(math.ceil(seconds * 1000), 0, function()
    timer:close()
    resume(this)
  end)
  coroutine.yield()
end

function resume(thread)
  local ok, err = coroutine.resume(thread)
  if not ok then
    note("fault", (tostring(err):gsub("%s+", " ")))
    os.exit(3)
  end
end

local store = assert(keel.open(path, { durability = durability, sleep = sleep, lock_timeout = 20 }))
local runs = keel.run_manager { store = store, lease_ttl = lease_ttl > 0 and lease_ttl or nil, settle_timeout = 0.5 }
local mine = {} -- ids of runs this process has to see to
local work = {} -- id -> how many deeds its work still takes
local done_deeds = 0

local function any(list) return list[math.random(#list)] end
local function chance(percent) return math.random(100) <= percent end

-- Errors that are answers. With leases, or after the time to settle, a run may have been taken away; else never.
local expected = { conflict = true, invalid_transition = true, not_found = true, stale_owner = true,
  lease_held = true }

local function answer(what, run_id, err)
  if not expected[err.code] then note("unexpected", run_id or "-", what, (tostring(err):gsub("%s+", " "))) end
  if err.code == "stale_owner" then note("stale", run_id or "-", what) end
end

local function forget(run_id)
  work[run_id] = nil
  for i, id in ipairs(mine) do
    if id == run_id then return table.remove(mine, i) end
  end
end

-- --- What a process does ---------------------------------------------------------------------------------------------

local deeds = {}

function deeds.admit()
  local thread = any(chosen)
  if #mine > 12 then return end
  local run, verdict = runs:create_or_reject(thread.id, {
    multitask_strategy = thread.strategy, strategy_options = thread.options, claimable = thread.claimable,
    priority = thread.priorities and math.random(thread.priorities) or nil,
    fingerprint = thread.fingerprints and "f" .. math.random(thread.fingerprints) or nil,
    reconciler = thread.claimable and "requeue_orphans" or nil, max_losses = 1000, metadata = { by = seed },
  })
  if not run then return answer("admit", nil, verdict) end
  if verdict == "created" then
    note("admitted", run.run_id)
    if not thread.claimable then mine[#mine + 1] = run.run_id end
  end
end

function deeds.claim()
  if #mine > 12 then return end
  local run, err = runs:claim_next()
  if err then return answer("claim", nil, err) end
  if not run then return end
  note("started", run.run_id, run.fence)
  mine[#mine + 1] = run.run_id
  work[run.run_id] = done_deeds + (chance(70) and math.random(60) or 0)
end

local function start(id)
  local run = runs:get(id)
  if not run then return forget(id) end
  if run.status ~= "pending" then return end
  local verdict, err = runs:try_start(id)
  if not verdict then return answer("start", id, err) end
  if verdict == "started" then
    note("started", id, run.fence)
    work[id] = done_deeds + (chance(50) and math.random(60) or 0)
  end
  if verdict == "cancelled" then forget(id) end
end

-- All at once: when a place is free, many go for it.
function deeds.start()
  for _, id in ipairs { table.unpack(mine) } do start(id) end
end

-- A run that was stopped comes to rest, one that was rolled back says so.
local function come_to_rest(run)
  if run.cancel_action == "rollback" and chance(50) then
    local _, err = runs:set_status(run.run_id, "error", { error = "rolled back" })
    if err then answer("roll back", run.run_id, err) end
  elseif chance(50) then
    local _, err = runs:settle(run.run_id)
    if err then answer("settle", run.run_id, err) end
  else
    local _, err = runs:set_status(run.run_id, "interrupted")
    if err then answer("interrupted", run.run_id, err) end
  end
  forget(run.run_id)
end

local function finish(id)
  local run = runs:get(id)
  if not run then return forget(id) end
  if run.status == "interrupted" then return come_to_rest(run) end
  if run.status ~= "running" then
    if run.status ~= "pending" then forget(id) end
    return
  end
  local fence = run.fence
  if run.cancel_action and chance(70) then
    local done, err = runs:set_status(id, "interrupted")
    if done then note("finished", id, fence, "interrupted") else answer("stop", id, err) end
  elseif chance(50) then
    local status = any { "success", "error", "timeout" }
    local done, err = runs:set_status(id, status)
    if done then note("finished", id, fence, status) else answer("finish", id, err) end
  else
    local done, err = runs:update_run_completion(id, { status = "success", total_tokens = 7 })
    if done and runs:get(id).status == "success" then note("finished", id, fence, "success") end
    if done == nil then answer("complete", id, err) end
  end
end

function deeds.finish()
  if #mine == 0 then return end
  local id = any(mine)
  if (work[id] or 0) <= done_deeds then finish(id) end
end

-- A process that was stopped wakes up and goes on as if nothing had happened. What it lost meanwhile it must not write.
local function wake_up()
  for _, id in ipairs { table.unpack(mine) } do
    local run = runs:get(id)
    if run and run.status == "running" then finish(id) end
  end
end

function deeds.progress()
  if #mine == 0 then return end
  local id = any(mine)
  local done, err = runs:update_run_progress(id, { total_tokens = math.random(100) })
  if done == nil then answer("progress", id, err) end
end

function deeds.cancel()
  local rows = store:list_inflight { thread_id = any(chosen).id, limit = 20 }
  if not rows or #rows == 0 then return end
  local id = any(rows).run_id
  local done, verdict = runs:cancel(id, { action = any { "interrupt", "rollback" } })
  if done == nil then answer("cancel", id, verdict) end
end

function deeds.give_back()
  if #mine == 0 then return end
  local id = any(mine)
  local run = runs:get(id)
  if not run or run.status ~= "running" or not threads[run.thread_id].claimable then return end
  local done, err = runs:requeue(id, { delay = any { 0, 0.01 } })
  if done then forget(id) else answer("requeue", id, err) end
end

function deeds.tick()
  local report, err = runs:tick()
  if not report then return answer("tick", nil, err) end
end

function deeds.recover()
  local recovered, err = runs:reconcile_orphaned_inflight_runs()
  if not recovered or err then return answer("recover", nil, err) end
  for _, run in ipairs(recovered) do note("recovered", run.run_id, run.fence) end
end

local weights = { admit = 20, claim = 12, start = 20, finish = 20, progress = 3, cancel = 3, give_back = 2, tick = 4,
  recover = 2 }
local bag = {}
for name, weight in pairs(weights) do
  for _ = 1, weight do bag[#bag + 1] = name end
end
table.sort(bag)

-- --- The life of the process -----------------------------------------------------------------------------------------

resume(coroutine.create(function()
  note("session", assert(store:session_id()), uv.os_getpid())
  print "ready"
  local looked = uv.hrtime()
  while not stopping do
    if uv.hrtime() - looked > 100 * 1000000 then wake_up() end
    looked = uv.hrtime()
    deeds[any(bag)]()
    done_deeds = done_deeds + 1
    uv.run "nowait"
    if chance(2) then sleep(0.001) end
  end
  -- In good order: what still runs is stopped, and what others can run is given back without an attempt.
  local attempts, fences = {}, {}
  for _, id in ipairs(mine) do
    local run = runs:get(id)
    if run then attempts[id], fences[id] = run.attempt, run.fence end
  end
  local report, err = runs:shutdown { timeout = 0 }
  if not report or err then note("unexpected", "-", "shutdown", tostring(err)) end
  for _, run in ipairs(report and report.given_back or {}) do
    note("left", run.run_id, fences[run.run_id], attempts[run.run_id])
  end
  for _, run in ipairs(report and report.interrupted or {}) do
    if run.shared and not run.cancel_action then note("unexpected", run.run_id, "interrupted") end
  end
  store:close()
  input:close()
  term:close()
  print "bye"
end))
uv.run()
