--- One process of crash.lua: a writer, or a reader of the log. It goes on through whatever happens to the server, until
--- its input ends. What was acknowledged to it, or what it saw, goes into a ledger of its own, line by line.
--
-- Usage: lua5.4 crash_client.lua ROLE NAME STORE LEDGER DURABILITY SEED
local keel = require "keel"
local uv = require "luv"

local role, name, uri, ledger_path, durability, seed = ...
math.randomseed(math.tointeger(tonumber(seed)))

local ledger <const> = assert(io.open(ledger_path, "a"))
ledger:setvbuf "no"
local function note(...) assert(ledger:write(table.concat({ ... }, " "), "\n")) end

local stopping = false
local input = assert(uv.new_pipe())
input:open(0)
input:read_start(function(_, data) stopping = stopping or not data end)

-- Tries again what failed for a reason that passes. nil: it did not succeed, and why is noted.
local function again(what, fn, ...)
  local patience = uv.hrtime() + 60000000000
  while uv.hrtime() < patience do
    local result, err = fn(...)
    if result ~= nil or err == nil then return result, err end
    if type(err) ~= "table" then
      note("unexpected", what, (tostring(err):gsub("%s+", " ")))
      return nil
    end
    if not err.transient then
      local text = tostring(err):gsub("%s+", " ")
      local is_unknown = text:find("not known", 1, true)
      note(is_unknown and "unknown" or err.code == "stale_owner" and "stale" or "unexpected", what, text)
      return nil
    end
    uv.run "nowait"
    uv.sleep(10)
  end
  note("unexpected", what, "it fails again and again")
end

local store = assert(again("open", keel.open, uri, { durability = durability }))
local runs = keel.run_manager { store = store, retry = keel.retry_policy { max_attempts = 1 } }

local done = 0
local function write()
  done = done + 1
  local subject = ("%s-%d"):format(name, done)
  local event = again("append", store.append_event, store, { kind = "note", message = subject })
  if event then note("note", subject, event) end
  local run = again("admit", runs.create_or_reject, runs, subject)
  if not run then return end
  note("admitted", run.run_id)
  if again(run.run_id, runs.try_start, runs, run.run_id) ~= "started" then return end
  note("started", run.run_id)
  if again(run.run_id, runs.update_run_completion, runs, run.run_id, { status = "success" }) then
    note("finished", run.run_id)
  end
  if done % 5 == 0 then
    local recovered = again("recover", runs.reconcile_orphaned_inflight_runs, runs, { error = "lost" })
    for _, orphan in ipairs(recovered or {}) do note("recovered", orphan.run_id) end
  end
end

local cursor
local function read()
  local page = again("read", store.read_events, store, cursor, 100)
  for _, event in ipairs(page and page.events or {}) do
    note("saw", event.id, event.kind, event.message or event.thread_id or "-")
  end
  cursor = page and page.cursor or cursor
  if page and #page.events == 0 then again("wait", store.wait_events, store, cursor, { timeout = 0.2 }) end
end

while not stopping do
  if role == "writer" then write() else read() end
  uv.run "nowait"
end
store:close()
