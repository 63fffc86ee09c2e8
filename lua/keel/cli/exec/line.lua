--- Waiting in line: until the run may start, or until somebody else's run with the same work has ended.
local kernel = require "keel.kernel"
local output = require "keel.cli.output"
local signals = require "keel.cli.exec.signals"
local terminal = require "keel.cli.terminal"

local line = {}

local BACKSTOP = 0.25 -- seconds after which it is tried without news: an owner that is killed says nothing
local STEP = 0.05     -- the same where nothing can wake us
local LONG = 5        -- the same while no owner is in the way: a clock may be set, a wake-up be lost

-- What may let a run start, or end it.
local kinds = { "run_created", "run_started", "run_finished", "run_settled", "run_requeued", "run_rescheduled",
  "run_deleted", "run_cancel_requested", "limit_changed" }

-- What happened since the last look. `filter` is that of the log, `concerns` says whether an event is meant. Errors are
-- left to the next operation.
local function news_since(store, cursor, filter, concerns)
  local page
  repeat
    page = store:read_events(cursor, 256, filter)
    if not page then return cursor, true end
    cursor = page.cursor
    for _, event in ipairs(page.events) do
      if not concerns or concerns(event) then return cursor, true end
    end
  until not page.has_more
  return cursor, false
end

-- The cursor behind what has happened so far. Without one, by an error, the log is read from its start.
local function end_of_log(store)
  local last = store:event_high_water()
  local epoch = store:epoch()
  return last and epoch and { epoch = epoch, next_event_id = last + 1 }
end

-- Waits for news that pass the filter, a signal, or the time. Returns the cursor, and the signal.
local function wait_for_news(course, cursor, seconds, filter, concerns)
  local store = course.store
  local until_then = kernel.monotonic() + seconds
  course.waiter = course.waiter or store:event_waiter()
  local waiter = course.waiter
  while true do
    local some = not waiter or waiter:look(cursor)
    if some then
      cursor, some = news_since(store, cursor, filter, concerns)
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

local function has_any(list, wanted)
  for _, item in ipairs(type(list) == "table" and list or {}) do
    if wanted[item] then return true end
  end
  return false
end

-- Says of an event whether the run may start by it, or has ended: of its thread; of a limit; of a slot that it wants;
-- or by one that tells its owner.
local function concerning(course)
  local run, slots = course.run, {}
  for _, slot in ipairs(run.slots or {}) do slots[slot.name] = true end
  local session = { [course.store:session_id()] = true }
  return function(event)
    if event.thread_id == run.thread_id or event.kind == "limit_changed" then return true end
    local data = type(event.data) == "table" and event.data or {}
    local ready = type(data.ready) == "table" and data.ready or {}
    return ready.all == true or has_any(ready.sessions, session) or has_any(data.freed, slots)
  end
end

-- In whose way there is no run that somebody has in hand.
local unowned = { delay = true, rate = true, paused = true }

-- Seconds until it is worth another try without news.
local function until_next_try(course, gate)
  local at = gate and (gate.scheduled_at or gate.free_at)
  local left = at and kernel.time_seconds(at) - kernel.time_seconds(course.store:now())
  return math.min(gate and unowned[gate.gate] and LONG or BACKSTOP, math.max(left or math.huge, 0.001))
end

-- What the run waits for, in words.
local function reason_of(course)
  local answer = course.manager:explain(course.run.run_id)
  if not answer or not answer.reason then return nil end
  local is_timed = answer.waits_for == "delay" or answer.waits_for == "rate"
  return answer.reason .. (is_timed and answer.startable_at and (", until %s"):format(answer.startable_at) or "")
end

-- Tells what the run waits for, whenever that is something else.
local function tell_why(course, gate)
  local key = gate and ("%s %s"):format(gate.gate, gate.name)
  if not course.tells or not gate or key == course.told then return end
  course.told = key
  local reason = reason_of(course)
  if reason then terminal.say("keel exec: waiting: ", terminal.plain(reason)) end
end

--- Takes the run out of the line.
---@param course table
---@param stop_reason string
---@return keel.Error? err
function line.leave(course, stop_reason)
  local run = course.run
  local _, err = course.manager:set_status(run.run_id, "interrupted", { stop_reason = stop_reason })
  return err
end

local function not_started(course)
  local row = course.store:get(course.run.run_id) or {}
  local why = row.successor and "run " .. row.successor .. " took its place" or
    row.stop_reason and row.stop_reason ~= "cancelled" and row.stop_reason or row.error or "it was cancelled"
  return nil, { code = "conflict", message = ("run %s was not started: %s"):format(course.run.run_id, why),
    run_id = course.run.run_id, thread_id = course.run.thread_id, transient = false }
end

-- Gives up: the run is not started any more, and nobody else starts it.
local function give_up(course)
  local run = course.run
  local reason = reason_of(course)
  local err = line.leave(course, "gave up waiting")
  if err then return nil, err end
  return nil, { code = "conflict", message = ("run %s was not started within %s s: %s"):format(run.run_id,
    output.number(course.options.wait), reason or "the thread is busy"), run_id = run.run_id,
    thread_id = run.thread_id, transient = false }
end

-- When it is given up: so long after the time that was asked for.
local function last_moment(course)
  local given, at = course.options, course.run.scheduled_at
  if not given.wait then return math.huge end
  if not (given["in"] or given.at) then at = nil end
  local before = at and math.max(kernel.time_seconds(at) - kernel.time_seconds(course.store:now()), 0) or 0
  return kernel.monotonic() + before + given.wait
end

-- Tries to start the run. Returns true when it is, else the gate that is closed; or nil and how it ended instead.
local function try(course)
  local manager, run_id = course.manager, course.run.run_id
  local verdict, err = manager:try_start(run_id)
  if verdict == "started" then
    if course.waiter then course.waiter:close() end
    return true
  end
  if verdict == "cancelled" or err and err.code == "invalid_transition" then return not_started(course) end
  if not verdict and err.code ~= "busy" then return nil, err end
  return course.store:gate(run_id) or {}
end

--- Waits until the run is started.
---@param course table
---@return true|table|nil started or how it ended instead
---@return keel.Error? err
function line.wait(course)
  local deadline, filter, cursor, concerns = last_moment(course), { kinds = kinds }, nil, nil
  while true do
    local gate, err = try(course)
    if gate == true or not gate then return gate, err end
    if not concerns then
      -- The cursor is taken before another try: what happens in between is still news.
      cursor, concerns = end_of_log(course.store), concerning(course)
      course.tells = require("keel.command").is_terminal(2) and not course.options.quiet and not course.options.json
    else
      tell_why(course, gate)
      local left = deadline - kernel.monotonic()
      if left <= 0 then return give_up(course) end
      local name
      cursor, name = wait_for_news(course, cursor, math.min(left, until_next_try(course, gate)), filter, concerns)
      if name then
        err = line.leave(course, "SIG" .. name)
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
    cursor, name = wait_for_news(course, cursor, BACKSTOP, { run_id = run_id })
    if name then return signals.outcome(name) end
    -- Its owner may have been killed: then nobody else will say how it ended.
    if row.session_id and course.store:session_alive(row.session_id) == false then
      course.manager:reconcile_orphaned_inflight_runs {}
    end
  end
end

return line
