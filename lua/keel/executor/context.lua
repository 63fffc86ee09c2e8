--- What a handler is given: its run, and functions to call, each made when the handler first asks for it, as few
--- handlers ask for more than one.
local Child = require "keel.executor.child"
local check = require "keel.check"
local ending = require "keel.executor.ending"
local errors = require "keel.errors"

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

local function cancelled(self)
  local record = self._record
  return errors.new("cancelled", ("run %s is to stop"):format(record.run_id),
    { run_id = record.run_id, action = record.abort_action })
end

local function check_thread(self, name)
  if coroutine.running() ~= self._thread then
    error(name .. " is to be called in the coroutine of the handler", 3)
  end
end

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

-- Of a task, by the name of a function in its context: that function.
local makers = {}

function makers.cancelled(self)
  return function() return self:is_cancelled() end
end

function makers.sleep(self)
  local executor = self._executor
  return function(seconds)
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
end

function makers.progress(self)
  local executor, record = self._executor, self._record
  return function(fields)
    local err = ending.stale(self)
    if err then return nil, err end
    return executor._manager:update_run_progress(record.run_id, with_progress(fields))
  end
end

function makers.snooze(self)
  return function(seconds)
    check.type(seconds, "number", 1, "snooze")
    if not check.is_duration(seconds) then
      error("bad argument #1 to 'snooze' (it is not a number of seconds, at least 0)", 2)
    end
    check_thread(self, "snooze")
    self._snoozed = seconds
  end
end

function makers.event(self)
  local executor, record = self._executor, self._record
  return function(event)
    check.type(event, "table", 1, "event")
    check.options(event, { kind = "string", message = "string", data = "table" }, 1, "event")
    if not event.kind then error("bad argument #1 to 'event' (option 'kind' is missing)", 2) end
    local err = ending.stale(self)
    if err then return nil, err end
    return executor._client:call("append_event", { kind = event.kind, message = event.message,
      data = event.data, run_id = record.run_id, thread_id = record.thread_id })
  end
end

function makers.spawn(self)
  local executor = self._executor
  return function(command)
    check_thread(self, "spawn")
    if self:is_cancelled() then return nil, cancelled(self) end
    local child, err = Child.spawn(executor._loop, command, executor._kill_grace)
    if child then self:own(child) end
    return child, err
  end
end

local TASK = {} -- the key of a context's task

local Context = { __name = "keel.context" }

function Context.__index(context, name)
  local maker = makers[name]
  if not maker then return nil end
  local fn = maker(rawget(context, TASK))
  rawset(context, name, fn)
  return fn
end

-- All that there is, made or not.
function Context.__pairs(context)
  local members = {}
  for name in next, makers do members[name] = context[name] end
  for name, value in next, context do
    if name ~= TASK then members[name] = value end
  end
  return next, members, nil
end

--- What the handler of a task is given.
---@param task keel.ExecutorTask
---@return keel.Context
local function new(task)
  return setmetatable({ run = task._record, manager = task._executor._manager, [TASK] = task }, Context)
end

return { new = new }
