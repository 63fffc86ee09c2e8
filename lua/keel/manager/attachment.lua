--- What drives a manager's runs, an executor, and what it gets of the manager: this is the one door. Nothing else
--- outside of this folder looks into a manager.

local Status = require "keel.manager.status"

---@class keel.Observer what a manager tells, and asks, who drives its runs; what on_… raise is logged
---@field on_add fun(record: keel.Run) told of each new live record
---@field on_claimable fun() told when a run was made that anybody may claim
---@field on_schedule fun() told when a schedule was made or changed
---@field holds fun(record: keel.Run): boolean whether a handler works on a run, so that nobody else must

---@class keel.Attachment
---@field client keel.StoreClient
---@field live keel.LiveRuns
---@field private _core keel.ManagerCore
local Attachment = {}
Attachment.__index = Attachment

--- Why nobody can be attached to a value; nil when somebody can.
---@param manager any
---@return string? problem
function Attachment.problem_with(manager)
  if type(manager) ~= "table" or type(manager.claim_next) ~= "function" or not manager._core then
    return "option 'manager' must be a run manager"
  end
  if manager._core.observer then return "the manager has an executor" end
end

--- Seconds that a lease of the manager's runs lasts, with its grace; nil: they have none.
---@param manager keel.RunManager
---@return number?
function Attachment.lease_of(manager)
  return manager._core.context.lease
end

--- The error about a reconciler that the manager does not know.
---@param manager keel.RunManager
---@param wanted? string|keel.AnyReconciler
---@return keel.Error?
function Attachment.check_reconciler(manager, wanted)
  return manager._core.context:check_reconciler(wanted)
end

--- Attaches an observer to a manager that has none.
---@param manager keel.RunManager
---@param observer keel.Observer
---@return keel.Attachment
function Attachment.new(manager, observer)
  local core = manager._core
  core.observer, core.live.observer = observer, observer
  return setmetatable({ client = core.client, live = core.live, _core = core }, Attachment)
end

--- Writes what a run came to, as the manager's update_run_completion does, of fields whose types are right.
---@param run_id string
---@param fields table
---@return boolean? done
---@return keel.Error? err
function Attachment:complete(run_id, fields)
  return Status._complete(self._core, run_id, fields)
end

--- Gives a run the signal to stop.
---@param record keel.Run
---@param action string
function Attachment:abort(record, action)
  self._core.writer:abort(record, action)
end

--- Gives the signal to stop to all runs that have not come to rest.
---@param action string unless another was asked for
function Attachment:abort_all(action)
  for _, record in ipairs(self.live:unsettled()) do self._core.writer:abort(record, record.cancel_action or action) end
end

--- Tells the observer no more.
---@param goes_on boolean handlers of its go on: it is still asked what it holds
function Attachment:detach(goes_on)
  local core = self._core
  if goes_on then table.insert(core.left_behind, core.observer) end
  core.observer, self.live.observer = nil, nil
end

return Attachment
