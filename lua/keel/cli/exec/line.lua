--- Waiting in line: until the run may start, or until somebody else's run with the same work has ended.
local kernel = require "keel.kernel"
local output = require "keel.cli.output"
local signals = require "keel.cli.exec.signals"
local terminal = require "keel.cli.terminal"

local line = {}

local BACKSTOP = 0.25 -- seconds after which it is tried without news: an owner that is killed says nothing
local STEP = 0.05     -- the same where nothing can wake us

-- What happened to a thread's or a run's events since the last look. Errors are left to the next operation.
local function news_since(store, cursor, filter)
  local page = store:read_events(cursor, 256, filter)
  if not page then return cursor, true end
  return page.cursor, #page.events > 0 or page.has_more
end

-- Waits for news that pass the filter, a signal, or the time. Returns the cursor, and the signal.
local function wait_for_news(course, cursor, filter, seconds)
  local store = course.store
  local until_then = kernel.monotonic() + seconds
  course.waiter = course.waiter or store:event_waiter()
  local waiter = course.waiter
  while true do
    local some = not waiter or waiter:look(cursor)
    if some then
      cursor, some = news_since(store, cursor, filter)
      if some then return cursor, course.leaving end
    end
    local left = until_then - kernel.monotonic()
    local descriptor = waiter and waiter:descriptor()
    if not descriptor then left = math.min(left, STEP) end
    local news, name = signals.wait(course, math.max(left, 0), descriptor)
    if news == "signal" and signals.fatal[name] then return cursor, name end
    if course.leaving or kernel.monotonic() >= until_then then return cursor, course.leaving end
  end
end

-- Seconds until the run could start by its schedule.
local function until_scheduled(course)
  local gate = course.store:gate(course.run.run_id)
  if not gate or gate.gate ~= "delay" or not gate.scheduled_at then return nil end
  return kernel.time_seconds(gate.scheduled_at) - kernel.time_seconds(course.store:now()), gate
end

local function tell_why(course)
  local answer = course.manager:explain(course.run.run_id)
  if answer and answer.reason then terminal.say("keel exec: waiting: ", terminal.plain(answer.reason)) end
end

-- Takes the run out of the line.
local function leave(course, stop_reason)
  local run = course.run
  local _, err = course.manager:set_status(run.run_id, "interrupted", { stop_reason = stop_reason })
  return err
end

local function not_started(course)
  local row = course.store:get(course.run.run_id) or {}
  local why = row.successor and "run " .. row.successor .. " took its place" or
    row.stop_reason and row.stop_reason ~= "cancelled" and row.stop_reason or "it was cancelled"
  return nil, { code = "conflict", message = ("run %s was not started: %s"):format(course.run.run_id, why),
    run_id = course.run.run_id, thread_id = course.run.thread_id, transient = false }
end

--- Waits until the run is started.
---@param course table
---@return true|table|nil started or how it ended instead
---@return keel.Error? err
function line.wait(course)
  local manager, run, given = course.manager, course.run, course.options
  local deadline = given.wait and kernel.monotonic() + given.wait or math.huge
  local cursor, told
  while true do
    -- The cursor is taken before the try: what happens in between is still news.
    if not cursor and told ~= nil then cursor = news_since(course.store, nil, { run_id = run.run_id }) end
    local verdict, err = manager:try_start(run.run_id)
    if verdict == "started" then
      if course.waiter then course.waiter:close() end
      return true
    end
    if verdict == "cancelled" then return not_started(course) end
    if not verdict and err.code ~= "busy" then return nil, err end
    if told == nil then
      told = require("keel.command").is_terminal(2) and not given.quiet and not given.json
      if told then tell_why(course) end
    else
      local left = deadline - kernel.monotonic()
      if left <= 0 then
        err = leave(course, "gave up waiting")
        if err then return nil, err end
        return nil, { code = "conflict", message = ("thread %s stayed busy for %s s"):format(run.thread_id,
          output.number(given.wait)),
          run_id = run.run_id, thread_id = run.thread_id, transient = false }
      end
      local name
      cursor, name = wait_for_news(course, cursor, { thread_id = run.thread_id },
        math.min(left, BACKSTOP, math.max(until_scheduled(course) or BACKSTOP, 0.001)))
      if name then
        err = leave(course, "SIG" .. name)
        if err then return nil, err end
        return signals.outcome(name)
      end
    end
  end
end

local exit_codes = { success = 0, error = 1, timeout = 124, interrupted = 143 }

--- Waits until a run that does the same work has ended, and gives its outcome.
---@param course table
---@return table? outcome
---@return keel.Error? err
function line.follow(course)
  local run_id = course.run.run_id
  local cursor
  while true do
    cursor = news_since(course.store, cursor, { run_id = run_id })
    local row, err = course.store:get(run_id)
    if not row then
      return nil, err or { code = "not_found", message = ("run %s is gone"):format(run_id), run_id = run_id,
        transient = false }
    end
    if exit_codes[row.status] then
      return { code = row.exit_code or exit_codes[row.status],
        message = row.status ~= "success" and ("run %s ended as %s%s"):format(run_id, row.status,
          row.error and ": " .. row.error or "") or nil }
    end
    local name
    cursor, name = wait_for_news(course, cursor, { run_id = run_id }, BACKSTOP)
    if name then return signals.outcome(name) end
    -- Its owner may have been killed: then nobody else will say how it ended.
    if row.session_id and course.store:session_alive(row.session_id) == false then
      course.manager:reconcile_orphaned_inflight_runs {}
    end
  end
end

return line
