--- What is in the way of a run, and clearing it away where it has no right to be there.
local LiveRuns = require "keel.manager.live_runs"
local recovery = require "keel.recovery"

local clearing = {}

--- Runs in the way that one try clears away; the next try goes on.
clearing.MAX = 256

-- Ends a run that is in the way and has no right to be: its owner is gone, its time is over, or it was asked to stop
-- and has not done so in time. Returns whether anything changed.
local function clear_run(self, tx, row, context)
  local settle_timeout = self.context.settle_timeout
  if LiveRuns.is_final(row.status) then return tx:settle(row.run_id, { settle_timeout = settle_timeout }) end
  local taken, err = recovery.take(tx, context, row)
  if taken or err then return taken, err end
  if not row.cancel_requested_at then return false end
  return tx:claim_for_takeover(row.run_id,
    { status = "interrupted", stop_reason = "settle_timeout", settle_timeout = settle_timeout })
end

-- The rows a gate speaks of.
local function blockers(store, gate, thread_id)
  if gate.gate == "slot" then
    return store:list_inflight { slot = gate.name, holding = true, limit = clearing.MAX, brief = true }
  end
  if not gate.run_id then return {} end
  if gate.gate == "concurrency" then
    return store:list_inflight { thread_id = thread_id, holding = true, limit = clearing.MAX, brief = true }
  end
  local row, err = store:get(gate.run_id)
  if err then return nil, err end
  return { row }
end

--- Clears away what may be of what a gate speaks of, in an open transaction.
---@param self keel.ManagerCore
---@param tx keel.Transaction
---@param gate table
---@param thread_id string
---@param cleared string[] the ids of the runs that were are added
---@param context table the manager's, or a sweep's
---@param recovered string[] the ids of those that were recovered are added here, too
---@return boolean? some whether there were any
---@return keel.Error? err
function clearing.clear(self, tx, gate, thread_id, cleared, context, recovered)
  local rows, err = blockers(tx, gate, thread_id)
  if not rows then return nil, err end
  local some = false
  for _, row in ipairs(rows) do
    local done, failure = clear_run(self, tx, row, context)
    if done == nil then return nil, failure end
    if done then
      some = true
      cleared[#cleared + 1] = row.run_id
      local is_run = not recovery.is_reservation(row) and not LiveRuns.is_final(row.status)
      if is_run then recovered[#recovered + 1] = row.run_id end
    end
  end
  return some
end

--- Whether it is worth a writing transaction to look closer at what is in the way. Only reads.
---@param self keel.ManagerCore
---@param gate table
---@param thread_id string
---@return boolean
function clearing.may_clear(self, gate, thread_id)
  local client = self.client
  local rows = blockers(setmetatable({}, { __index = function(_, method)
    return function(_, ...) return client:call(method, ...) end
  end }), gate, thread_id)
  for _, row in ipairs(rows or {}) do
    if row.cancel_requested_at or LiveRuns.is_final(row.status) then return true end
    if self.context:cause_of(row) then return true end
  end
  return false
end

--- Clears away what keeps a run from being claimed and has no right to, by the rules of a sweep.
---@param self keel.ManagerCore
---@param row table
---@param context table the sweep's
---@param recovered string[] the ids of runs that were recovered are added
---@return keel.Error? err
function clearing.clear_way(self, row, context, recovered)
  local gate, err = self.client:call("gate", row.run_id)
  if not gate then return err end
  if gate.gate ~= "after" and gate.gate ~= "concurrency" and gate.gate ~= "slot" then return nil end
  if not clearing.may_clear(self, gate, row.thread_id) then return nil end
  local done, failure = self.client:transaction("clear", function(tx)
    local cleared, taken = {}, {}
    for _ = 1, clearing.MAX do
      local state, problem = tx:gate(row.run_id)
      if problem then return nil, problem end
      if not state then break end
      local some
      some, problem = clearing.clear(self, tx, state, row.thread_id, cleared, context, taken)
      if some == nil then return nil, problem end
      if not some then break end
    end
    return { cleared = cleared, taken = taken }
  end)
  if not done then return failure end
  self.writer:refresh_all(done.cleared)
  table.move(done.taken, 1, #done.taken, #recovered + 1, recovered)
end

return clearing
