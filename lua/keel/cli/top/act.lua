--- What keel top can do about a run. The store that is looked at is readonly; another one is opened for each act.
local change = require "keel.cli.limits.change"
local kernel = require "keel.kernel"
local opening = require "keel.cli.opening"
local words = require "keel.cli.exec.words"

local act = {}

-- Calls fn(manager) on a store that may be written. Returns what to say.
local function with_manager(given, fn)
  local store <close>, manager = opening.manager(given, "change")
  if not store then return manager.message end
  local said, err = fn(manager)
  return said or err.message
end

-- What `y` does, in words; what is said after another key; and doing it, which gives what to say.
local function question(text, otherwise, run)
  return { text = text, otherwise = otherwise, run = run }
end

--- Stopping a run.
---@param _ keel.Store
---@param run keel.Run
---@return table? question
---@return string? problem
function act.cancel(_, run)
  if kernel.final[run.status] then return nil, ("%s has ended already"):format(run.run_id) end
  return question("cancels " .. run.run_id, "nothing was cancelled", function(given)
    return with_manager(given, function(manager)
      local done, verdict = manager:cancel(run.run_id)
      if done == nil then return nil, verdict end
      return ("%s: %s"):format(run.run_id, verdict)
    end)
  end)
end

--- Trying a run again. A command that nobody had claimed belongs to a terminal: it is not run here.
---@param store keel.Store
---@param run keel.Run
---@return table? question
---@return string? problem
function act.retry(store, run)
  if not kernel.final[run.status] then return nil, ("%s is %s"):format(run.run_id, run.status) end
  local kept, err = store:get(run.run_id)
  if not kept then return nil, err and err.message or ("%s is gone"):format(run.run_id) end
  if words.is_kept(kept.kwargs) and not kept.shared and not kept.handler then
    return nil, ("a command: 'keel runs retry %s' shows it and runs it again"):format(run.run_id)
  end
  return question(("puts the work of %s in line again"):format(run.run_id), "nothing was put in line", function(given)
    return with_manager(given, function(manager)
      local again, problem = manager:retry(run.run_id)
      if not again then return nil, problem end
      return ("%s is in line, until somebody claims it"):format(again.run_id)
    end)
  end)
end

--- Pausing the thread of a run, or resuming it.
---@param store keel.Store
---@param run keel.Run
---@return table? question
---@return string? problem
function act.pause(store, run)
  local name = "thread:" .. run.thread_id
  local limit, err = change.find(store, name)
  if err then return nil, err.message end
  local is_paused = limit ~= nil and limit.paused
  local text = is_paused and "resumes thread " .. run.thread_id or
    ("pauses thread %s: nothing of it starts"):format(run.thread_id)
  return question(text, is_paused and "it stays paused" or "nothing was paused", function(given)
    return with_manager(given, function(manager)
      local done, problem
      if is_paused then done, problem = manager:resume(name) else done, problem = manager:pause(name) end
      if not done then return nil, problem end
      return ("%s %s"):format(run.thread_id, is_paused and "may start again" or "is paused")
    end)
  end)
end

return act
