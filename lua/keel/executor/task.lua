--- One attempt of a run: its handler in a coroutine, what the handler is given, and its end in the store.
local Child = require "keel.executor.child"
local LiveRuns = require "keel.manager.live_runs"
local check = require "keel.check"
local ending = require "keel.executor.ending"
local errors = require "keel.errors"
local kernel = require "keel.kernel"
local outcome_of_handler = require "keel.executor.outcome"

---@class keel.ExecutorTask
local Task = {}
Task.__index = Task

local EARLY = 0.002 -- seconds that a timer of the loop may be early, at most

---@param executor keel.Executor
---@param record keel.Run running and live
function Task.new(executor, record)
  return setmetatable({
    _executor = executor,
    _record = record,
    _children = {},
    _sleep = nil,   -- the waiter of its sleep
    _snoozed = nil, -- seconds that the handler has put the run off for
    killed = false,
    failure = nil,  -- why its end could not be written so far
    given_back = false,
  }, Task)
end

--- Whether the handler is to stop.
function Task:is_cancelled()
  return self.killed or self._record.abort_event:is_set()
end

--- Whether it is to stop because the process is: nobody has cancelled its run.
function Task:is_stopping()
  return self._record.abort_action == "shutdown" and not LiveRuns.is_final(self._record.status)
end

local function cancelled(self)
  local record = self._record
  return errors.new("cancelled", ("run %s is to stop"):format(record.run_id),
    { run_id = record.run_id, action = record.abort_action })
end

-- The signal to stop: whoever sleeps wakes up, and processes are ended.
local function stop(self)
  if self._sleep then self._sleep:wake() end
  for _, child in ipairs(self._children) do child:terminate() end
end

--- Ends its processes without further ado.
function Task:kill()
  for _, child in ipairs(self._children) do child:kill "sigkill" end
end

--- The executor goes, and its handler has not ended: what it still says is not heard.
function Task:abandon()
  self.killed = true
  if self._sleep then self._sleep:wake() end
  self:kill()
end

--- Whether all its processes have ended.
function Task:is_alone()
  for _, child in ipairs(self._children) do
    if not child.settled then return false end
  end
  return true
end

-- --- What a handler is given ----------------------------------------------------------------------------------------

local function check_thread(self, name)
  if coroutine.running() ~= self._thread then
    error(name .. " is to be called in the coroutine of the handler", 3)
  end
end

---@alias keel.Handler fun(context: keel.Context): any, any

---@class keel.Context
---@field run keel.Run the live record
---@field manager keel.RunManager
---@field sleep fun(seconds: number): true?, keel.Error? nil and cancelled when the run is to stop, at once
---@field cancelled fun(): boolean whether the run is to stop
---@field progress fun(fields: table): boolean?, keel.Error? done, total and message, and what
--- RunManager:update_run_progress takes
---@field event fun(event: { kind: string, message?: string, data?: table }): integer?, keel.Error? its id
---@field snooze fun(seconds: number) `return context.snooze(s)`: look again later; no attempt is spent
---@field spawn fun(command: string|table): keel.Child?, keel.Error? a process; cancelled when the run is to stop

-- How far the run is, said among the counters.
local function with_progress(fields)
  check.type(fields, "table", 1, "progress")
  local given, progress = {}, nil
  for name, value in next, fields do
    if name == "done" or name == "total" or name == "message" then
      progress = progress or {}
      progress[name] = value
    else
      given[name] = value
    end
  end
  given.progress = given.progress or progress
  return given
end

local function context_of(self)
  local executor, record = self._executor, self._record
  local context = { run = record, manager = executor._manager }

  function context.cancelled() return self:is_cancelled() end

  function context.sleep(seconds)
    check.type(seconds, "number", 1, "sleep")
    if seconds ~= seconds then error("bad argument #1 to 'sleep' (it is not a number of seconds)", 2) end
    check_thread(self, "sleep")
    if self:is_cancelled() then -- the others go on all the same: it may not be listened to
      executor._loop:give_way()
      return nil, cancelled(self)
    end
    self._sleep = executor._loop:waiter()
    executor:_rest(self._sleep, seconds)
    self._sleep = nil
    if self:is_cancelled() then return nil, cancelled(self) end
    return true
  end

  function context.progress(fields)
    local err = ending.stale(self)
    if err then return nil, err end
    return executor._manager:update_run_progress(record.run_id, with_progress(fields))
  end

  function context.snooze(seconds)
    check.type(seconds, "number", 1, "snooze")
    if not check.is_duration(seconds) then
      error("bad argument #1 to 'snooze' (it is not a number of seconds, at least 0)", 2)
    end
    check_thread(self, "snooze")
    self._snoozed = seconds
  end

  function context.event(event)
    check.type(event, "table", 1, "event")
    check.options(event, { kind = "string", message = "string", data = "table" }, 1, "event")
    if not event.kind then error("bad argument #1 to 'event' (option 'kind' is missing)", 2) end
    local err = ending.stale(self)
    if err then return nil, err end
    return executor._client:call("append_event", { kind = event.kind, message = event.message,
      data = event.data, run_id = record.run_id, thread_id = record.thread_id })
  end

  function context.spawn(command)
    check_thread(self, "spawn")
    if self:is_cancelled() then return nil, cancelled(self) end
    local child, err = Child.spawn(executor._loop, command, executor._kill_grace)
    if child then table.insert(self._children, child) end
    return child, err
  end

  return context
end

-- --- The end --------------------------------------------------------------------------------------------------------

-- Nothing that a run has started outlives it.
local function end_children(self)
  for _, child in ipairs(self._children) do
    child:terminate()
    child:wait()
  end
end

--- Runs the handler and writes how it ended. In a coroutine of the loop.
---@param handlers function|table<string, function>
function Task:drive(handlers)
  local executor, record = self._executor, self._record
  self._thread = coroutine.running()
  record.task = self._thread
  record.abort_event:on_set(function() executor._loop:defer(function() stop(self) end) end)
  local cancel_deadline
  if record.deadline and not executor:_is_manual() then
    local left = kernel.time_seconds(record.deadline) - executor:_now()
    -- The loop counts whole milliseconds: its timers may be one early, and a beat before the deadline finds nothing.
    cancel_deadline = executor._loop:after(math.max(left, 0) + EARLY, function() executor:_beat() end)
  end
  local handler, outcome = outcome_of_handler.handler_of(handlers, record)
  if handler then
    outcome = outcome_of_handler.of(xpcall(handler, outcome_of_handler.traceback, context_of(self)))
  end
  if cancel_deadline then cancel_deadline() end
  end_children(self)
  if not self.killed then
    local write = handler and ending.write or ending.unknown_handler
    write(self, outcome)
  end
  record.task = nil
end

return Task
