--- One attempt of a run: its handler in a coroutine, and its end in the store.
local Context = require "keel.executor.context"
local LiveRuns = require "keel.manager.live_runs"
local ending = require "keel.executor.ending"
local kernel = require "keel.kernel"
local outcome_of_handler = require "keel.executor.outcome"

---@class keel.ExecutorTask
local Task = {}
Task.__index = Task

local none = {}     -- in place of a list of processes; nobody writes to it
local EARLY = 0.002 -- seconds that a timer of the loop may be early, at most

---@param executor keel.Executor
---@param record keel.Run running and live
function Task.new(executor, record)
  return setmetatable({
    _executor = executor,
    _record = record,
    _children = none,
    _sleep = nil,   -- the waiter of its sleep
    _snoozed = nil, -- seconds that the handler has put the run off for
    timed_out = false, -- the attempt has taken longer than it may
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

-- The signal to stop: whoever sleeps wakes up, and processes are ended.
local function stop(self)
  if self._sleep then self._sleep:wake() end
  for _, child in ipairs(self._children) do child:terminate() end
end

-- Its run is to stop. Whoever says so is not interrupted.
function Task:_stop_soon()
  self._executor._loop:defer(function() stop(self) end)
end

--- Has one process more, which does not outlive it.
---@param child keel.Child
function Task:own(child)
  if self._children == none then self._children = {} end
  table.insert(self._children, child)
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

--- The attempt has taken as long as it may: its handler is asked to stop.
function Task:time_out()
  if self.timed_out or self:is_cancelled() or LiveRuns.is_final(self._record.status) then return end
  self.timed_out = true
  self._executor._attachment:abort(self._record, "timeout")
end

--- Whether it has by now: by the store's clock while that is moved by hand, else by one that nobody sets.
---@return boolean
function Task:is_over()
  return self._ends_at ~= nil and self._time() >= self._ends_at
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
  record.abort_event:on_set(function() self:_stop_soon() end)
  local cancel_deadline
  if record.deadline and not executor:_is_manual() then
    local left = kernel.time_seconds(record.deadline) - executor:_now()
    -- The loop counts whole milliseconds: its timers may be one early, and a beat before the deadline finds nothing.
    cancel_deadline = executor._loop:after(math.max(left, 0) + EARLY, function() executor:_beat() end)
  end
  local cancel_timeout
  if record.timeout then
    self._time = executor:_is_manual() and function() return executor:_now() end or kernel.monotonic
    self._ends_at = self._time() + record.timeout
    if not executor:_is_manual() then
      cancel_timeout = executor._loop:after(record.timeout + EARLY, function() self:time_out() end)
    end
  end
  local handler, outcome = outcome_of_handler.handler_of(handlers, record)
  if handler then
    outcome = outcome_of_handler.of(xpcall(handler, outcome_of_handler.traceback, Context.new(self)))
  end
  if cancel_deadline then cancel_deadline() end
  if cancel_timeout then cancel_timeout() end
  if self:is_over() and not self:is_cancelled() then self.timed_out = true end -- it has let nobody else work
  end_children(self)
  if not self.killed then
    local write = handler and ending.write or ending.unknown_handler
    write(self, outcome)
  end
  record.task = nil
end

return Task
