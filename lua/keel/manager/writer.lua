--- Writes rows and keeps the live records equal to them: the one way from a part of the manager to a run that is live
--- here. A live record is changed only after its row was; a write that fails leaves it as it is.
local LiveRuns = require "keel.manager.live_runs"
local errors = require "keel.errors"
local kernel = require "keel.kernel"

local is_final = LiveRuns.is_final

---@class keel.RunWriter
---@field private _client keel.StoreClient
---@field private _live keel.LiveRuns
local Writer = {}
Writer.__index = Writer

---@param client keel.StoreClient
---@param live keel.LiveRuns
---@return keel.RunWriter
function Writer.new(client, live)
  return setmetatable({ _client = client, _live = live }, Writer)
end

--- The error about a run that this manager had, and has no more.
---@param run_id string
---@return keel.Error
function Writer.lost(run_id)
  return errors.new("stale_owner", ("run %s was lost to somebody else"):format(run_id), { run_id = run_id })
end

--- The fields of a record that make its row again.
---@param record keel.Run
---@return table fields
function Writer.row_of(record)
  local row = {}
  for name in pairs(kernel.run_fields) do row[name] = record[name] end
  row.run_id, row.revision = nil, nil
  return row
end

-- --- May it be written ----------------------------------------------------------------------------------------------

-- The row of a run that is not live here, if this manager may write it: not while another session has it, and not
-- when it had the run itself and lost it. What is written then carries the row's fence: if somebody takes the run
-- over meanwhile, the write is refused.
local function row_to_write(self, run_id)
  if self._live:is_lost(run_id) then return nil, Writer.lost(run_id) end
  local row, err = self._client:call("get", run_id)
  if not row then return nil, err or errors.no_run(run_id) end
  local own = self._client:session_id()
  if row.session_id and row.session_id ~= own and self._client:is_alive(row.session_id) then
    return nil, errors.new("stale_owner", ("run %s belongs to session %d, which is alive"):format(run_id,
      row.session_id), { run_id = run_id, session_id = row.session_id })
  end
  return row
end

--- What this manager may write: the live record of a run, or its row. A run that is to be claimed is nobody's to write,
--- only to stop.
---@param run_id string
---@param stopping? boolean
---@return table? row
---@return keel.Run? record the live one, if it is one
---@return keel.Error? err
function Writer:to_write(run_id, stopping)
  local record = not self._live:is_lost(run_id) and self._live:get(run_id) or nil
  local row, err = record, nil
  if not record then row, err = row_to_write(self, run_id) end
  if not row then return nil, nil, err end
  if row.claimable and not stopping and not is_final(row.status) then
    return nil, nil, errors.new("stale_owner", ("run %s is to be claimed first"):format(run_id),
      { run_id = run_id })
  end
  return row, record
end

--- Why a run that is not live here cannot be started by this manager: it would run with nobody to answer for it.
---@param row table
---@return keel.Error? err
function Writer:not_startable(row)
  if row.session_id and row.session_id == self._client:session_id() then return nil end
  local why = row.claimable and "is to be claimed" or "has lost its owner and is to be recovered"
  return errors.new("stale_owner", ("run %s %s before it can start"):format(row.run_id, why),
    { run_id = row.run_id })
end

-- --- Records --------------------------------------------------------------------------------------------------------

--- Writes into a live record what a change that succeeded made of its row.
---@param record keel.Run
---@param written table
function Writer:apply(record, written)
  if self._live:update(record, written) then self:follow(record.run_id, record.batch_id ~= nil) end
end

--- A run has ended by a call of this manager: brings up to date what is live here of those that were after it, and may
--- have failed with it, down the line.
---@param run_id string
---@param of_batch? boolean whether it is of a batch; nil: nobody knows
function Writer:follow(run_id, of_batch)
  if not self._live:has_dependents() then return end
  local ended, looked_at = { { run_id, of_batch ~= false } }, {}
  while #ended > 0 do
    for _, record in ipairs(self._live:dependents_of(table.unpack(table.remove(ended)))) do
      if not looked_at[record] then
        looked_at[record] = true
        local row = self._client:call("get", record.run_id)
        if row and is_final(row.status) then
          self._live:replace(record, row)
          self:abort(record)
          ended[#ended + 1] = { record.run_id, record.batch_id ~= nil }
        end
      end
    end
  end
end

--- Gives the signal to stop. What it tells of is committed: a listener that raises is logged, and neither keeps others
--- from being told nor the caller from its result.
---@param record keel.Run
---@param action? string
function Writer:abort(record, action)
  LiveRuns.abort(record, action, function(err)
    self._client:log("error", "a listener of an abort event failed",
      { run_id = record.run_id, error = errors.text(err) })
  end)
end

--- Brings a live record up to date with its row. A run that somebody else has ended or taken is aborted here, and what
--- is taken is this manager's no more.
---@param record keel.Run
---@param quiet? boolean not even then: this process did it
---@return table? row
---@return keel.Error? err
function Writer:refresh(record, quiet)
  local fence, was_final = record.fence, is_final(record.status)
  local row, err = self._client:call("get", record.run_id)
  if not row then return nil, err end
  if self._live:replace(record, row) then self:follow(record.run_id, record.batch_id ~= nil) end
  if quiet then return row end
  local taken = record.fence ~= fence
  if taken then self._live:lose(record) end
  if not was_final and (taken or is_final(record.status)) then self:abort(record, record.cancel_action) end
  return row
end

--- Brings those of the runs up to date that are live here: a transaction has changed them.
---@param ids string[]
function Writer:refresh_all(ids)
  for _, run_id in ipairs(ids) do
    local record = self._live:get(run_id)
    if record then self:refresh(record) else self:follow(run_id) end
  end
end

--- A write was refused: if that is because somebody else knows better, learns what.
---@param record keel.Run
---@param err? keel.Error
function Writer:learn_from(record, err)
  if err and (err.code == "stale_owner" or err.code == "invalid_transition") then self:refresh(record) end
end

-- --- Writing --------------------------------------------------------------------------------------------------------

-- A row that vanished is made again: how its run ended is not to be lost.
local function write_again(self, record, status, change)
  local row = Writer.row_of(record)
  row.status, row.ended_at = status, self._client:now()
  for _, name in ipairs { "error", "stop_reason", "cancel_action" } do
    if change[name] ~= nil then row[name] = change[name] end
  end
  local done, written = self._client:call("put", record.run_id, row)
  if not done then return nil, written end
  self._client:log("warn", "the row of a run was gone and has been made again",
    { run_id = record.run_id, status = status })
  self:apply(record, written)
  return record
end

--- Changes the status of a live record's row. A row that vanished is made again when the status is final.
---@param record keel.Run
---@param status string
---@param change table what update_status takes
---@return keel.Run? record
---@return keel.Error? err
function Writer:change_status(record, status, change)
  change.fence = record.fence
  local found, written = self._client:call("update_status", record.run_id, status, change)
  if found == nil then
    self:learn_from(record, written)
    return nil, written
  end
  if found then
    self:apply(record, written)
    return record
  end
  if not is_final(status) then return nil, errors.no_run(record.run_id) end
  return write_again(self, record, status, change)
end

return Writer
