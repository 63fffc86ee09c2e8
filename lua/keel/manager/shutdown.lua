--- Leaving in good order.
local LiveRuns = require "keel.manager.live_runs"
local check = require "keel.check"
local owning = require "keel.manager.owning"
local timer = require "keel.manager.timer"

local STEP = 0.01 -- seconds between two looks at what still runs
local TIMEOUT = 10

local is_final = LiveRuns.is_final

local function by_id(a, b) return a.run_id < b.run_id end

-- Gives back a run that others can run. Returns nil when it cannot, and the error.
local function give_back(self, record)
  local run, err = owning.requeue(self, record.run_id, { attempt = false })
  if not run then return nil, err end
  -- Somebody else may have taken and ended it by now. One that was asked to stop is still ours, and interrupted.
  return self.live:is_lost(record.run_id) and "given_back" or "interrupted"
end

-- Leaves a run, as an executor does (the reference, Stopping): what others can run is given back without an attempt,
-- the rest ends. Returns the list of the report that it belongs to, nil when it is none of this process's any more, and
-- the error.
local function leave(self, record)
  local run_id = record.run_id
  if self.live:is_lost(run_id) then return nil end
  if not is_final(record.status) then
    local list, err
    if record.shared then list, err = give_back(self, record) end
    if list then return list end
    if self.live:is_lost(run_id) then return nil end
    if err and err.transient then return nil, err end -- it stays running: an orphan can be given back, what ended not
  end
  if not is_final(record.status) then
    local done, err = self.writer:change_status(record, "interrupted", { stop_reason = "shutdown" })
    if done then return "interrupted" end
    if self.live:is_lost(run_id) then return nil end
    if not is_final(record.status) then return nil, err end
  elseif record.finalizing then
    local settled, err = owning.settle(self, run_id)
    if settled == nil and err.code ~= "stale_owner" then return "finished", err end
  end
  return "finished"
end

-- Whether a handler works on a run, of an executor that is there or of one that was stopped without it.
local function has_handler(self, record)
  if self.observer and self.observer.holds(record) then return true end
  for _, observer in ipairs(self.left_behind) do
    if observer.holds(record) then return true end
  end
  return false
end

---@class keel.ShutdownReport
---@field finished keel.Run[] ended by themselves
---@field given_back keel.Run[] pending again, for others
---@field interrupted keel.Run[] not finished, and nobody else can run them
---@field running? keel.Run[] whose handlers have not ended: orphans when the process goes

---@class keel.manager.Shutdown: keel.ManagerCore
local Shutdown = {}

--- Leaves in good order: signals the live runs to stop (the action is "shutdown", unless another was asked for),
--- waits until they have ended and settled, and leaves those that have not when the time is over: what others can run
--- (it was claimed) is given back without an attempt, the rest is `interrupted` with the stop_reason "shutdown". What
--- finished by itself keeps its outcome. A run that a handler of an executor still works on stays running. The wait
--- goes through the store's sleep, so that a host's coroutines can finish.
--- Raises for wrong types. Fails with invalid_request (timeout); when writing fails, the error is the second value.
---@param options? { timeout?: number } in seconds, for all of them together; default 10
---@return keel.ShutdownReport? report
---@return keel.Error? err
function Shutdown:shutdown(options)
  options = check.options(options, { timeout = "number" }, 1, "shutdown")
  local bad = check.duration(options.timeout, "timeout")
  if bad then return nil, bad end
  local clock = timer(self.client, options.timeout or TIMEOUT)
  local failure, signalled = nil, {}
  repeat -- what is made meanwhile is signalled, too
    local running = self.live:unsettled()
    for _, record in ipairs(running) do
      if not signalled[record] then self.writer:abort(record, record.cancel_action or "shutdown") end
      signalled[record] = true
    end
    local over = #running == 0 or clock.left() <= 0
    if not over then clock.sleep(math.min(STEP, clock.left())) end
  until over
  local report = { finished = {}, given_back = {}, interrupted = {} }
  for record in pairs(signalled) do
    local list, err
    if has_handler(self, record) then
      list, report.running = "running", report.running or {}
    else
      list, err = leave(self, record)
    end
    if list then table.insert(report[list], record) end
    failure = failure or err
  end
  for _, list in pairs(report) do table.sort(list, by_id) end
  return report, failure
end

return Shutdown
