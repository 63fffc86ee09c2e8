--- One attempt of a run: its handler in a coroutine, what the handler is given, and its end in the store.
local Child = require "keel.executor.child"
local LiveRuns = require "keel.manager.live_runs"
local check = require "keel.check"
local errors = require "keel.errors"
local kernel = require "keel.kernel"
local outcome_of_handler = require "keel.executor.outcome"

---@class keel.ExecutorTask
local Task = {}
Task.__index = Task

local STEP, STEP_LAST = 0.05, 5 -- seconds between two tries at writing how a run ended
local EARLY = 0.002             -- seconds that a timer of the loop may be early, at most

-- Answers that another try does not change.
local refusals = { stale_owner = true, invalid_transition = true, not_found = true, invalid_request = true,
  limit_too_large = true }

---@param executor keel.Executor
---@param record keel.Run running and live
function Task.new(executor, record)
  return setmetatable({ _executor = executor, _record = record, _children = {}, _sleep = nil, killed = false }, Task)
end

--- Whether the handler is to stop.
function Task:is_cancelled()
  return self.killed or self._record.abort_event:is_set()
end

local function cancelled(self)
  local record = self._record
  return errors.new("cancelled", ("run %s is to stop"):format(record.run_id),
    { run_id = record.run_id, action = record.abort_action })
end

-- Nil when the run is still this attempt's. One that was given back or lost is not, though this process may have taken
-- it again: another attempt of it runs here then, and what is written by the run's id is written in its name.
local function not_ours(self)
  local live, record = self._executor._manager._live, self._record
  local current = live:get(record.run_id)
  if not live:is_lost(record.run_id) and (current == nil or current == record) then return nil end
  return errors.new("stale_owner", ("this attempt of run %s is over: it was given back or lost"):format(record.run_id),
    { run_id = record.run_id })
end

-- The signal to stop: whoever sleeps wakes up, and processes are ended.
local function stop(self)
  if self._sleep then self._sleep:wake() end
  for _, child in ipairs(self._children) do child:terminate() end
end

--- Ends its processes without further ado. What the handler still says is not heard.
function Task:kill()
  self.killed = true
  if self._sleep then self._sleep:wake() end
  for _, child in ipairs(self._children) do child:kill "sigkill" end
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

---@alias keel.Handler fun(context: keel.Context): table|boolean|nil, any

---@class keel.Context
---@field run keel.Run the live record
---@field manager keel.RunManager
---@field sleep fun(seconds: number): true?, keel.Error? nil and cancelled when the run is to stop, at once
---@field cancelled fun(): boolean whether the run is to stop
---@field progress fun(fields: table): boolean?, keel.Error? counters, as RunManager:update_run_progress
---@field event fun(event: { kind: string, message?: string, data?: table }): integer?, keel.Error? its id
---@field spawn fun(command: string|table): keel.Child?, keel.Error? a process; cancelled when the run is to stop

local function context_of(self)
  local executor, record = self._executor, self._record
  local context = { run = record, manager = executor._manager }

  function context.cancelled() return self:is_cancelled() end

  function context.sleep(seconds)
    check.type(seconds, "number", 1, "sleep")
    if seconds ~= seconds then error("bad argument #1 to 'sleep' (it is not a number of seconds)", 2) end
    check_thread(self, "sleep")
    if self:is_cancelled() then -- the others get their turn all the same: it may not be listened to
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
    local err = not_ours(self)
    if err then return nil, err end
    return executor._manager:update_run_progress(record.run_id, fields)
  end

  function context.event(event)
    check.type(event, "table", 1, "event")
    check.options(event, { kind = "string", message = "string", data = "table" }, 1, "event")
    if not event.kind then error("bad argument #1 to 'event' (option 'kind' is missing)", 2) end
    local err = not_ours(self)
    if err then return nil, err end
    return executor._manager._client:call("append_event", { kind = event.kind, message = event.message,
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

-- Calls write() until the store has answered. A run whose end could not be written is not over.
local function insist(self, write)
  local executor, step = self._executor, STEP
  while true do
    local done, err = write()
    if done ~= nil then return done end
    if refusals[err.code] or executor:_is_over() then return nil, err end
    executor._loop:sleep(step)
    step = math.min(step * 2, STEP_LAST)
  end
end

local function may_retry(record)
  return not LiveRuns.is_final(record.status) and (record.attempt or 1) < (record.max_attempts or 1)
end

-- Gives the run back for another attempt. Returns whether that is settled, one way or another.
local function give_back(self, outcome)
  local executor, record = self._executor, self._record
  local backoff = executor._backoff
  local delay = backoff:delay(math.max(record.attempt or 1, 1), backoff.jitter > 0 and math.random() or 0)
  local run, err = insist(self, function()
    local stale = not_ours(self)
    if stale then return nil, stale end
    return executor._manager:requeue(record.run_id, { delay = delay, error = outcome.error })
  end)
  if run then executor:_expect(delay) end
  return run ~= nil or err.code == "stale_owner" or executor:_is_over()
end

-- Whether the run has taken longer than it may, and nobody has noticed: its handler has let nobody else work.
local function is_late(self)
  local record = self._record
  return record.deadline and not LiveRuns.is_final(record.status) and not self:is_cancelled() and
    kernel.time_seconds(record.deadline) <= self._executor:_now()
end

local function write_end(self, outcome)
  local executor, record = self._executor, self._record
  local failed = outcome.failed
  outcome.failed = nil
  if not_ours(self) and not self:is_cancelled() then return end -- its handler has given it back
  if is_late(self) then
    outcome.status, outcome.stop_reason, outcome.error_code = "timeout", "deadline", nil
    outcome.error = "the deadline of the run has passed"
  elseif failed and self:is_cancelled() then
    outcome.status, outcome.stop_reason = "interrupted", "cancelled"
  elseif failed and may_retry(record) then
    outcome.status = "error"
    if give_back(self, outcome) then return end
  elseif failed then
    outcome.status = "error"
  end
  local function complete()
    local stale = not_ours(self)
    if stale then return nil, stale end
    return executor._manager:update_run_completion(record.run_id, outcome)
  end
  local answered, done, err = pcall(insist, self, complete)
  local refused = not answered and done or done == nil and err.code ~= "stale_owner" and refusals[err.code] and err
  if refused then -- the handler returned what cannot be stored; that is how the run has ended, then
    outcome = { status = "error", error_code = "invalid_outcome",
      error = outcome_of_handler.text("what the handler returned cannot be stored: " .. tostring(refused)) }
    err = select(2, insist(self, complete))
  end
  if err then
    executor._log(err.code == "stale_owner" and "warn" or "error", "the end of a run could not be written",
      { run_id = record.run_id, status = outcome.status, error = tostring(err) })
  end
end

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
  if not self.killed then write_end(self, outcome) end
  record.task = nil
end

return Task
