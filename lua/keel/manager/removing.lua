--- Taking runs out: of the store, or only of this process.
local LiveRuns = require "keel.manager.live_runs"
local check = require "keel.check"
local kernel = require "keel.kernel"

---@class keel.manager.Removing: keel.ManagerCore
local Removing = {}

--- Deletes a run, its row and its live record; its events stay. A live run in flight is aborted. False when there was
--- none.
---@param run_id string
---@return boolean? deleted
---@return keel.Error? err
function Removing:delete(run_id)
  check.type(run_id, "string", 1, "delete")
  local deleted, err = self.client:call("delete", run_id)
  if deleted == nil then return nil, err end
  local record = self.live:drop(run_id)
  if record and not LiveRuns.is_final(record.status) then self.writer:abort(record) end
  if deleted then self.writer:follow(run_id) end
  return deleted or record ~= nil
end

-- Gives up a run, if it is this process's still: one in flight becomes nobody's, one that is finalizing is settled.
local function give_up(tx, record)
  local run_id = record.run_id
  local row, err = tx:get(run_id)
  if not row then
    if err then return nil, err end
    return true
  end
  if row.fence ~= record.fence then return true end
  local ok
  if LiveRuns.is_final(row.status) then
    ok, err = tx:settle(run_id, { fence = row.fence })
  else
    ok, err = tx:put(run_id, { session_id = kernel.null, fence = row.fence + 1 })
  end
  if ok == nil then return nil, err end
  return true
end

--- Drops the live record of a run. One in flight is given up: an orphan at once. Without a store of its own the manager
--- forgets the run altogether.
--- Raises for wrong types. Fails with invalid_request (delay) and what writing fails with; then the record stays.
---@param run_id string
---@param options? { delay?: number } seconds to wait first, through the store's sleep; default 0
---@return boolean? done false when it was not live
---@return keel.Error? err
function Removing:cleanup(run_id, options)
  check.type(run_id, "string", 1, "cleanup")
  options = check.options(options, { delay = "number" }, 2, "cleanup")
  if options.delay then
    local bad = check.duration(options.delay, "delay")
    if bad then return nil, bad end
    self.client:sleep(options.delay)
  end
  local record = self.live:get(run_id)
  if not record then return false end
  local ok, err = true, nil
  if self.private then
    ok, err = self.client:call("delete", run_id)
  elseif record.finalizing or not LiveRuns.is_final(record.status) then
    ok, err = self.client:transaction_on({ run_id = run_id }, "cleanup", give_up, record)
  end
  if ok == nil then return nil, err end
  self.live:drop(run_id)
  return true
end

return Removing
