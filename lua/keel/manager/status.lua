--- What a manager writes of a run's course: status, outcome and counters.
local LiveRuns = require "keel.manager.live_runs"
local Writer = require "keel.manager.writer"
local answers = require "keel.store.answers"
local check = require "keel.check"
local errors = require "keel.errors"
local kernel = require "keel.kernel"

local progress_fields = { model_name = "string", last_ai_message = "string", first_human_message = "string",
  token_usage_by_model = "table", progress = "table" }
for _, name in ipairs(answers.counters) do progress_fields[name] = "integer" end

local outcome = { "status", "error", "error_code", "exit_code", "stop_reason", "result" }
local completion_fields = { status = "string", error = "string", error_code = "string", exit_code = "integer",
  stop_reason = "string", result = true }
for name, kind in pairs(progress_fields) do completion_fields[name] = kind end

local function plain(fields)
  local copy = {}
  for name, value in pairs(fields) do copy[name] = value end
  return copy
end

local function write_fields(self, method, run_id, fields)
  local row, record, err = self.writer:to_write(run_id)
  if not row then
    if err.code == "not_found" then return false end
    return nil, err
  end
  if getmetatable(fields) ~= nil then fields = plain(fields) end -- the kernel looks at what a table itself has
  local found, written = self.client:call(method, run_id, fields, row.fence)
  if found == nil then
    if record then self.writer:learn_from(record, written) end
    return nil, written
  end
  if found and not record then self.writer:follow(run_id) end
  if found and record then
    self.writer:apply(record, written)
    if fields.token_usage_by_model and written.revision then
      record.token_usage_by_model = kernel.json.copy(fields.token_usage_by_model)
    end
    -- The outcome that was asked for is not what the row has: somebody ended the run before.
    if fields.status and record.status ~= fields.status then self.writer:refresh(record) end
  end
  return found
end

---@class keel.manager.Status: keel.ManagerCore
local Status = {}

--- Changes a run's status; no queue is asked.
--- Raises for wrong types. Fails with invalid_request, invalid_transition (from, to), not_found, stale_owner (another
--- owns it) and what writing fails with; then the record has the status that is stored.
---@param run_id string
---@param status string
---@param options? { error?: string, stop_reason?: string }
---@return keel.Run? run
---@return keel.Error? err
function Status:set_status(run_id, status, options)
  check.type(run_id, "string", 1, "set_status")
  check.type(status, "string", 2, "set_status")
  options = check.options(options, { error = "string", stop_reason = "string" }, 3, "set_status")
  local change = { error = options.error, stop_reason = options.stop_reason }
  local row, record, err = self.writer:to_write(run_id)
  if not row then return nil, err end
  if record then return self.writer:change_status(record, status, change) end
  if status == "running" then
    err = self.writer:not_startable(row)
    if err then return nil, err end
  end
  change.fence = row.fence
  local found
  found, err = self.client:call("update_status", run_id, status, change)
  if found == nil then return nil, err end
  self.writer:follow(run_id)
  row, err = self.client:call("get", run_id)
  if not row then return nil, err or errors.no_run(run_id) end
  return LiveRuns.equip(row, true)
end

--- Ends a run that has not started with an error. False when it is not pending; then nothing changes.
--- Fails with stale_owner (another session has it) and what writing fails with.
---@param run_id string
---@param options? { error?: string }
---@return boolean? done
---@return keel.Error? err
function Status:fail_pending(run_id, options)
  check.type(run_id, "string", 1, "fail_pending")
  options = check.options(options, { error = "string" }, 2, "fail_pending")
  local row, record, err = self.writer:to_write(run_id, true)
  if not row then
    if err.code == "not_found" then return false end
    return nil, err
  end
  local done, written
  done, err = self.client:transaction_on({ run_id = run_id }, "fail_pending", function(tx)
    local stored, failure = tx:get(run_id)
    if failure then return nil, failure end
    if not stored or stored.status ~= "pending" then return false end
    local found
    found, written = tx:update_status(run_id, "error", { error = options.error, fence = row.fence })
    if found == nil then return nil, written end
    return found
  end)
  if not record then
    if done then self.writer:follow(run_id) end
    return done, err
  end
  if done then
    self.writer:apply(record, written)
    self.writer:abort(record)
  else
    self.writer:refresh(record)
  end
  return done, err
end

-- As update_run_completion, of fields that were looked at: an executor does so with each that a handler returns.
function Status:_complete(run_id, fields)
  local found, err = write_fields(self, "update_run_completion", run_id, fields)
  if found ~= false then return found, err end
  local record = self.live:get(run_id)
  if not record then return false end
  local row, ends = Writer.row_of(record), LiveRuns.is_final(fields.status)
  local made
  if ends then -- at once: one that goes on needs a parent that does, and places
    row.ended_at = self.client:now()
    for _, name in ipairs(outcome) do row[name] = fields[name] end
  end
  made, err = self.client:call("put", run_id, row)
  if not made then return nil, err end
  found, err = write_fields(self, "update_run_completion", run_id, fields)
  if found and ends then self.writer:refresh(record, true) end
  if found == false then
    self.client:log("warn", "update_run_completion affected no rows after row recreation", { run_id = run_id })
  end
  return found, err
end

--- Writes what a run came to: its outcome and counters. An outcome that is final already stays; the counters are
--- kept. A row that vanished is made again once. Raises for unknown fields and wrong types.
--- Fails with invalid_request, stale_owner and what writing fails with; false when there is no such run.
---@param run_id string
---@param fields table status, result, error, error_code, exit_code, stop_reason, and what update_run_progress takes
---@return boolean? done
---@return keel.Error? err
function Status:update_run_completion(run_id, fields)
  check.type(run_id, "string", 1, "update_run_completion")
  check.type(fields, "table", 2, "update_run_completion")
  check.options(fields, completion_fields, 2, "update_run_completion")
  return Status._complete(self, run_id, fields)
end

--- Writes counters while a run is running; in any other status it changes nothing.
--- Raises for unknown fields and wrong types. Fails with invalid_request, stale_owner and what writing fails with;
--- false when there is no such run.
---@param run_id string
---@param fields table the counters, progress, token_usage_by_model, last_ai_message, first_human_message, model_name
---@return boolean? done
---@return keel.Error? err
function Status:update_run_progress(run_id, fields)
  check.type(run_id, "string", 1, "update_run_progress")
  check.type(fields, "table", 2, "update_run_progress")
  check.options(fields, progress_fields, 2, "update_run_progress")
  return write_fields(self, "update_run_progress", run_id, fields)
end

--- Changes the model's name, cut to 128 characters, whatever the run's status. False when there is no such run.
--- Fails with stale_owner (another session has it) and what writing fails with.
---@param run_id string
---@param name string
---@return boolean? done
---@return keel.Error? err
function Status:update_model_name(run_id, name)
  check.type(run_id, "string", 1, "update_model_name")
  check.type(name, "string", 2, "update_model_name")
  local row, record, err = self.writer:to_write(run_id)
  if not row then
    if err.code == "not_found" then return false end
    return nil, err
  end
  local done, written
  done, err = self.client:transaction_on({ run_id = run_id }, "update_model_name", function(tx)
    local stored, failure = tx:get(run_id)
    if failure then return nil, failure end
    if not stored then return false end
    if stored.fence ~= row.fence then return nil, Writer.lost(run_id) end
    local ok
    ok, written = tx:put(run_id, { model_name = name })
    if not ok then return nil, written end
    return true
  end)
  if not done then
    if record then self.writer:learn_from(record, err) end
    return done, err
  end
  if record then self.writer:apply(record, written) end
  return true
end

return Status
