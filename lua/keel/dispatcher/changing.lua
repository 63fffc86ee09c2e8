--- Changing test runs: compare the revision and write, in one transaction.
local errors = require "keel.errors"
local kernel = require "keel.kernel"
local record = require "keel.dispatcher.record"

local changing = {}

local function not_found(run_id)
  return errors.new("not_found", ("there is no test run %s"):format(run_id), { run_id = run_id })
end

--- The row of a test run. Other runs are not there, nor is what is no id.
---@param read fun(run_id: string): table?, keel.Error?
---@param run_id string
---@return table? row
---@return keel.Error? err not_found, or what reading failed with
function changing.row_of(read, run_id)
  local row, err = read(run_id)
  if row and row.operation_kind == "dispatch" then return row end
  if row or not err or err.code == "invalid_request" then return nil, not_found(run_id) end
  return nil, err
end

-- Those of the fields that are other than in a row.
local function changes_of(row, fields)
  local changes = {}
  for name, value in pairs(fields) do
    local stored = row[name]
    if stored == nil then stored = kernel.null end
    if value ~= stored then changes[name] = value end
  end
  changes.kwargs = nil
  if fields.kwargs.test_dir ~= (row.kwargs and row.kwargs.test_dir or "") then changes.kwargs = fields.kwargs end
  return changes
end

--- Writes a record over the row it is a copy of, if that is still what it is a copy of.
---@param tx keel.Transaction
---@param run_id string
---@param checked table? the record
---@param problem keel.Error? what is wrong with it; an unknown run comes first
---@return table? row as it is now
---@return keel.Error? err
function changing.replace(tx, run_id, checked, problem)
  local row, err = changing.row_of(function(id) return tx:get(id) end, run_id)
  if not row then return nil, err end
  err = problem or record.missing(checked, "revision", "machine", "test_dir_hash", "status")
  if not err and record.thread_of(checked.machine) ~= row.thread_id then
    err = errors.invalid("machine", "of a run cannot change")
  end
  if err then return nil, err end
  if checked.revision ~= row.revision then
    return nil, errors.new("conflict", ("run %s has revision %d by now, not %d"):format(run_id, row.revision,
      checked.revision), { run_id = run_id, revision = row.revision })
  end
  local changes = changes_of(row, record.to_fields(checked))
  if next(changes) == nil then return row end
  local ok, written = tx:put(run_id, changes)
  if not ok then return nil, record.in_own_words(written, run_id) end
  return tx:get(run_id)
end

return changing
