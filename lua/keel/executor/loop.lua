--- Coroutines on libuv: driving them, parking them, and what is done at the end of an iteration.
---
--- An iteration runs all coroutines that can go on, and what that lets go on, and then what was left for the end:
--- writing, so that a commit has the calls of all of them.
---
--- Every callback of libuv goes through `guard`: an error that leaves one would end the process.
local errors = require "keel.errors"

---@class keel.ExecutorLoop
local Loop = {}
Loop.__index = Loop

local ROUNDS = 8      -- rounds of coroutines in an iteration: those that keep waking each other must not hold it up
local ITERATIONS_LEFT = 32 -- iterations after the end

---@param uv table luv, or a module with its functions
---@param log fun(level: string, message: string, fields: table)
function Loop.new(uv, log)
  return setmetatable({
    uv = uv,
    _log = log,
    _threads = setmetatable({}, { __mode = "k" }), -- the coroutines driven here
    _deferred = {}, -- functions to be called in this iteration, and coroutines to go on
    _last = {},     -- those at its end
    _idle = uv.new_idle(),
    _idles = false,
    _closed = false,
  }, Loop)
end

local function traceback(err)
  return debug.traceback(errors.text(err), 2)
end

--- Calls a function so that its errors are logged and go no further.
---@param fn function
---@return boolean ok whether there were none
function Loop:call(fn, ...)
  local ok, err = xpcall(fn, traceback, ...)
  if not ok then self._log("error", "the executor has failed", { error = err }) end
  return ok
end

--- A function that calls another so.
---@param fn function
---@return fun(...): boolean
function Loop:guard(fn)
  return function(...) return self:call(fn, ...) end
end

--- Whether a coroutine is driven here: its yields are ours.
---@param thread thread
---@return boolean
function Loop:drives(thread)
  return self._threads[thread] == true
end

--- A function that says the same.
---@return fun(thread: thread): boolean?
function Loop:driver()
  local threads = self._threads
  return function(thread) return threads[thread] end
end

local function resume(self, thread)
  local ok, err = coroutine.resume(thread)
  if not ok then
    self._log("error", "a coroutine of the executor has failed",
      { error = debug.traceback(thread, errors.text(err)) })
  end
end

-- Calls what was deferred, and resumes the coroutines among it.
local function go_through(self, name)
  local due = self[name]
  self[name] = {}
  for _, what in ipairs(due) do
    if type(what) == "thread" then resume(self, what) else self:call(what) end
  end
end

-- From now on nothing goes on.
local function release(self)
  self._deferred, self._last = {}, {}
  if not self._idle:is_closing() then self._idle:close() end
end

-- An iteration. An idle handle keeps the loop from waiting while there is something to do.
local function iterate(self)
  self._idle:stop()
  self._idles = false
  for _ = 1, ROUNDS do
    if #self._deferred == 0 then break end
    go_through(self, "_deferred")
  end
  go_through(self, "_last")
  if not self._closed then return end
  self._iterations_left = self._iterations_left - 1
  if not self._idles or self._iterations_left <= 0 then release(self) end
end

local function defer(self, list, what)
  if self._idle:is_closing() then return end -- after the end nothing goes on
  list[#list + 1] = what
  if self._idles then return end
  self._idles = true
  self._idle:start(self:guard(function() iterate(self) end))
end

--- Calls fn once, in the next iteration of the loop, or later in this one.
---@param fn fun()
function Loop:defer(fn)
  defer(self, self._deferred, fn)
end

--- Calls fn once, when all that can go on in this iteration, or the next, has.
---@param fn fun()
function Loop:defer_to_end(fn)
  defer(self, self._last, fn)
end

--- Runs fn in a coroutine of its own, as something deferred.
---@param fn fun()
function Loop:go(fn)
  local thread = coroutine.create(fn)
  self._threads[thread] = true
  defer(self, self._deferred, thread)
end

-- --- Waiting --------------------------------------------------------------------------------------------------------

---@class keel.ExecutorWaiter
local Waiter = {}
Waiter.__index = Waiter

--- Something the running coroutine can wait for once. It goes on after `wake`, never inside of it: whoever wakes is
--- not interrupted.
---@return keel.ExecutorWaiter
function Loop:waiter()
  return setmetatable({ _loop = self, _thread = coroutine.running(), _woken = false, _waits = false }, Waiter)
end

function Waiter:wait()
  self._waits = true
  while not self._woken do coroutine.yield() end
  self._waits = false
end

function Waiter:wake()
  if self._woken then return end
  self._woken = true
  if self._waits then defer(self._loop, self._loop._deferred, self._thread) end
end

--- Parks the running coroutine until the next iteration.
function Loop:give_way()
  local waiter = self:waiter()
  self:defer_to_end(function() waiter:wake() end)
  waiter:wait()
end

--- Calls fn after so many seconds. Returns a function that keeps it from being called.
---@param seconds number
---@param fn fun()
---@return fun() cancel
function Loop:after(seconds, fn)
  local timer = self.uv.new_timer()
  local function cancel()
    if timer and not timer:is_closing() then timer:close() end
    timer = nil
  end
  self.uv.update_time() -- the loop's time is of the beginning of the iteration
  timer:start(math.ceil(math.min(seconds, 2 ^ 40) * 1000), 0, self:guard(function()
    cancel()
    fn()
  end))
  return cancel
end

--- Watches a descriptor.
---@param descriptor integer
---@return { arm: fun(fn: fun()), close: fun() }? readable arm: fn is called once, when there is something to read; nil:
--- it cannot be watched
function Loop:readable(descriptor)
  local poll = self.uv.new_poll(descriptor)
  if not poll then return nil end
  local function arm(fn)
    poll:start("r", self:guard(function()
      poll:stop()
      fn()
    end))
  end
  return { arm = arm, close = function() poll:close() end }
end

--- Parks the running coroutine.
---@param seconds number
function Loop:sleep(seconds)
  local waiter = self:waiter()
  self:after(seconds, function() waiter:wake() end)
  waiter:wait()
end

--- Parks the running coroutine until the waiter is woken or the time is over.
---@param waiter keel.ExecutorWaiter
---@param seconds number
function Loop:wait_for(waiter, seconds)
  local cancel = self:after(seconds, function() waiter:wake() end)
  waiter:wait()
  cancel()
end

--- Whether the loop runs, so that it cannot be run from here.
function Loop:runs()
  return self.uv.loop_mode() ~= nil
end

--- Whether nothing is deferred.
function Loop:is_quiet()
  return #self._deferred == 0 and #self._last == 0
end

--- Whether libuv was let go of.
function Loop:has_closed()
  return self._idle:is_closing()
end

--- Whether nothing is deferred, and nothing in the loop will ever wake anybody.
function Loop:is_asleep()
  return self:is_quiet() and not self.uv.loop_alive()
end

--- Runs the loop until `done()`.
---@param done fun(): boolean
function Loop:run_until(done)
  while not done() do self.uv.run "once" end
end

--- Lets go of libuv, when what goes on now has come to its end. Who never does is left behind.
function Loop:close()
  self._closed, self._iterations_left = true, ITERATIONS_LEFT
  if not self._idles then release(self) end
end

return Loop
