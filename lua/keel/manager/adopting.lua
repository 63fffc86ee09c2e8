--- What an admission has come to, taken over into the records of this process.
local LiveRuns = require "keel.manager.live_runs"
local kernel = require "keel.kernel"

local copy = kernel.json.copy

local adopting = {}

--- The record of a run that was just stored.
---@param self keel.ManagerCore
---@param request table
---@param written table
---@return keel.Run
function adopting.adopt(self, request, written)
  local fields, record = request.fields, written
  record.metadata = fields.metadata and copy(fields.metadata) or {} -- the caller may go on using his
  record.kwargs = fields.kwargs and copy(fields.kwargs) or {}
  record.worker_ref = fields.worker_ref and copy(fields.worker_ref)
  -- Nobody owns what may be claimed: it can be anybody's the next moment, so it is not live here.
  if fields.claimable then
    self.live:notify("on_claimable")
    return LiveRuns.equip(record, true)
  end
  self.live:add(LiveRuns.equip(record, false))
  return record
end

--- Gives the runs that admission interrupted their signal, as far as they are live here.
---@param self keel.ManagerCore
---@param outcome table
function adopting.abort_interrupted(self, outcome)
  for _, run_id in ipairs(outcome.interrupted) do
    local old = self.live:get(run_id)
    if old then
      self.writer:apply(old, outcome.rows[run_id])
      self.writer:abort(old, old.cancel_action)
    end
  end
end

return adopting
