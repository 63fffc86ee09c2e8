--- Leaving in good order: no more runs are taken, handlers end, are asked to, and in the end are left. What that means
--- is the same for a manager and for keel exec (the reference, Stopping). Adds its method to the executor.
---
---   draining ──► asked ──► killed ──► stopped
---
--- draining: handlers go on as ever, leases are renewed, cancels heard. asked: abort events are set with the action
--- "shutdown"; processes get SIGTERM, and SIGKILL after the grace. killed: what is left of processes gets SIGKILL.
--- Each step ends when no handler is left, when its time is over, or when `stop` is called again. Whose handler has not
--- ended in the end stays running, with its slots: giving it back would have it run twice.
local LiveRuns = require "keel.manager.live_runs"
local SharedCommits = require "keel.store.shared_commits"
local check = require "keel.check"
local errors = require "keel.errors"
local kernel = require "keel.kernel"

local TIMEOUT = 30     -- seconds that handlers have to end by themselves, or, asked at once, to hear
local LAST_MOMENT = 2  -- seconds for killed processes to be gone, and for what their handlers make of it to be written

local function by_id(a, b) return a.run_id < b.run_id end

-- The attempts that are waited for: not that of a handler which itself waits for the stop.
local function awaited(self)
  local tasks = {}
  for task in pairs(self._attempts) do
    if not task.waits_for_stop then tasks[#tasks + 1] = task end
  end
  return tasks
end

-- Waits until no handler is left, the time is over, or somebody hurries.
local function await(self, seconds)
  local deadline, hurries = kernel.monotonic() + seconds, self._hurries
  while #awaited(self) > 0 and self._hurries == hurries do
    local left = deadline - kernel.monotonic()
    if left <= 0 then return end
    self._stop_step = self._loop:waiter()
    self._loop:wait_for(self._stop_step, left)
  end
end

local function has_processes(self)
  for _, task in ipairs(awaited(self)) do
    if not task:is_alone() then return true end
  end
  return false
end

-- What became of the attempts there were when the stop began. Returns why an end could not be written.
local function add_attempts(self, report, tasks)
  local failure
  for _, task in ipairs(tasks) do
    local record, list = task._record, nil
    if self._attempts[task] then
      list, failure = "running", failure or task.failure
      report.running = report.running or {}
    elseif task.given_back or record.status == "pending" then
      list = "given_back"
    elseif LiveRuns.is_final(record.status) and not self._live:is_lost(record.run_id) then
      local left = record.status == "interrupted" and record.stop_reason == "shutdown"
      list = left and "interrupted" or "finished"
    end -- else it was lost to somebody else
    if list then table.insert(report[list], record) end
  end
  return failure
end

local function report_of(self, tasks)
  local ok, report, failure = pcall(self._manager.shutdown, self._manager, { timeout = 0 })
  if not ok then
    self._log("error", "the executor could not stop in good order", { error = errors.text(report) })
    return nil, errors.from(report)
  end
  if not report then return nil, failure end
  local seen, gathered = {}, { finished = {}, given_back = {}, interrupted = {} }
  for _, task in ipairs(tasks) do seen[task._record] = true end
  for name in pairs(gathered) do
    for _, record in ipairs(report[name] or {}) do
      if not seen[record] then table.insert(gathered[name], record) end
    end
  end
  failure = add_attempts(self, gathered, tasks) or failure
  for _, list in pairs(gathered) do table.sort(list, by_id) end
  return gathered, failure
end

local function release(self)
  for task in pairs(self._attempts) do
    if not task.waits_for_stop then task:abandon() end
  end
  self._state = "stopped"
  self._attachment:detach(next(self._attempts) ~= nil)
  if not SharedCommits.is(self._store) then self._client:use(self._store) end
  for _, waiter in ipairs { self._keeper or nil, self._watcher or nil } do waiter:wake() end
  self._watch:close()
  for _, waiter in ipairs(self._stop_waiters) do waiter:wake() end
  self._loop:close()
end

-- The last coroutine. Whatever becomes of it, nothing is left hanging.
local function shut_down(self, timeout, drain)
  local tasks = awaited(self)
  if drain then await(self, timeout) end
  self._attachment:abort_all "shutdown"
  await(self, drain and self._kill_grace or timeout)
  if has_processes(self) then
    for _, task in ipairs(awaited(self)) do task:kill() end
    await(self, LAST_MOMENT)
  end
  for task in pairs(self._attempts) do
    if task.waits_for_stop then tasks[#tasks + 1] = task end
  end
  self._report, self._failure = report_of(self, tasks)
end

---@param Executor keel.Executor
return function(Executor)
  --- Leaves in good order: takes no more runs at once, lets handlers end within `timeout`, then asks them to stop
  --- (`err.action` is "shutdown"). A handler that then returns a value or true has succeeded; nil and an error, a raise
  --- or nothing is no verdict: its run is given back without an attempt if others can run it (it was claimed), else
  --- interrupted with the stop_reason "shutdown". One that is put off (`snooze`) is given back in any case. Processes
  --- are asked by SIGTERM and killed after `kill_grace`. What has not ended then stays running, and is an orphan when
  --- the process goes. `drain = false` asks at once, and waits for `timeout`. Called again, it hurries: on to the next
  --- step.
  --- In the host's main program it runs the loop until that is done; in a handler it waits, and that handler is not
  --- waited for; in a callback of the running loop it cannot wait and returns nil at once: `run` gives the report then.
  --- Raises for wrong types. Fails with invalid_request (timeout); when writing fails, the error is the second value.
  ---@param options? { timeout?: number, drain?: boolean } timeout: in seconds, default 30; drain: default true
  ---@return keel.ShutdownReport? report
  ---@return keel.Error? err
  function Executor:stop(options)
    options = check.options(options, { timeout = "number", drain = "boolean" }, 1, "stop")
    local timeout = options.timeout or TIMEOUT
    local bad = check.duration(timeout, "timeout")
    if bad then return nil, bad end
    local mine = self:_task_of(coroutine.running())
    if mine then mine.waits_for_stop = true end
    if self._state == "new" or self._state == "started" then
      local drain = options.drain ~= false and self._state == "started" -- before a start nobody moves the clock
      self._state, self._stop_waiters, self._hurries = "stopping", {}, 0
      self:_dismiss()
      self:_go(function()
        self._loop:call(shut_down, self, timeout, drain)
        release(self)
      end)
    elseif self._state == "stopping" then
      self._hurries = self._hurries + 1
      if self._stop_step then self._stop_step:wake() end
    end
    if self._state ~= "stopped" then
      if not self._loop:runs() then
        self._loop:run_until(function() return self._loop:has_closed() end)
      elseif self._loop:drives((coroutine.running())) then
        local waiter = self._loop:waiter()
        table.insert(self._stop_waiters, waiter)
        waiter:wait()
      else
        return nil
      end
    end
    return self._report, self._failure
  end
end
