--- What a manager writes of a run's course: status, start, outcome and counters. Adds its methods to the manager.
local LiveRuns = require "keel.manager.live_runs"
local check = require "keel.check"
local errors = require "keel.errors"
local kernel = require "keel.kernel"

local is_final = LiveRuns.is_final

local progress_fields = { model_name = "string", last_ai_message = "string", first_human_message = "string",
  token_usage_by_model = "table", progress = "table" }
for _, name in ipairs(LiveRuns.counters) do progress_fields[name] = "integer" end

local completion_fields = { status = "string", error = "string", error_code = "string", exit_code = "integer",
  stop_reason = "string", result = true }
for name, kind in pairs(progress_fields) do completion_fields[name] = kind end

local function lost(run_id)
  return errors.new("stale_owner", ("run %s was lost to somebody else"):format(run_id), { run_id = run_id })
end

-- The fields of a record that make its row again.
local function row_of(record)
  local row = {}
  for name in pairs(kernel.run_fields) do row[name] = record[name] end
  row.run_id, row.revision = nil, nil
  return row
end

-- A write was refused: somebody else knows better.
local function after_refusal(self, record, err)
  if err and (err.code == "stale_owner" or err.code == "invalid_transition") then self:_refresh(record) end
  return nil, err
end

---@param Manager keel.RunManager
return function(Manager)
  -- What a change that succeeded made of the row. A store that does not say is believed to have done what was asked.
  function Manager:_apply(record, written, asked)
    if type(written) ~= "table" then
      written = asked
      written.updated_at = self._client:now()
    end
    self._live:update(record, written)
  end

  -- Why a run that is not live here cannot be started by this manager: it would run with nobody to answer for it.
  function Manager:_not_startable(row)
    if row.session_id and row.session_id == self._client:session_id() then return nil end
    local why = row.claimable and "is to be claimed" or "has lost its owner and is to be recovered"
    return errors.new("stale_owner", ("run %s %s before it can start"):format(row.run_id, why),
      { run_id = row.run_id })
  end

  -- Gives the signal to stop. What it tells of is committed: a listener that raises is logged, and neither keeps others
  -- from being told nor the caller from its result.
  function Manager:_abort(record, action)
    LiveRuns.abort(record, action, function(err)
      self._client:log("error", "a listener of an abort event failed",
        { run_id = record.run_id, error = errors.text(err) })
    end)
  end

  -- Brings a live record up to date with its row. A run that somebody else has ended or taken is aborted here, and what
  -- is taken is this manager's no more; `quiet`: not even then, this process did it. Returns the row.
  function Manager:_refresh(record, quiet)
    local fence, was_final = record.fence, is_final(record.status)
    local row, err = self._client:call("get", record.run_id)
    if not row then return nil, err end
    self._live:replace(record, row)
    if quiet then return row end
    local taken = record.fence ~= fence
    if taken then self._live:lose(record) end
    if not was_final and (taken or is_final(record.status)) then self:_abort(record, record.cancel_action) end
    return row
  end

  -- Changes the status of a live record's row. A row that vanished is made again when the status is final.
  function Manager:_change_status(record, status, change)
    local asked = { status = status, error = change.error, stop_reason = change.stop_reason,
      cancel_action = change.cancel_action }
    change.fence = record.fence
    local found, written = self._client:call("update_status", record.run_id, status, change)
    if found == nil then return after_refusal(self, record, written) end
    if found then
      self:_apply(record, written, asked)
      return record
    end
    if not is_final(status) then return nil, errors.no_run(record.run_id) end
    local row = row_of(record)
    for name, value in pairs(asked) do row[name] = value end
    row.ended_at = self._client:now()
    found, written = self._client:call("put", record.run_id, row)
    if not found then return nil, written end
    self._client:log("warn", "the row of a run was gone and has been made again",
      { run_id = record.run_id, status = status })
    self:_apply(record, written, asked)
    return record
  end

  -- The row of a run that is not live here, if this manager may write it: not while another session has it, and not
  -- when it had the run itself and lost it. What is written then carries the row's fence: if somebody takes the run
  -- over meanwhile, the write is refused.
  local function row_to_write(self, run_id)
    if self._live:is_lost(run_id) then return nil, lost(run_id) end
    local row, err = self._client:call("get", run_id)
    if not row then return nil, err or errors.no_run(run_id) end
    local own = self._client:session_id()
    if row.session_id and row.session_id ~= own and self._client:is_alive(row.session_id) then
      return nil, errors.new("stale_owner", ("run %s belongs to session %d, which is alive"):format(run_id,
        row.session_id), { run_id = run_id, session_id = row.session_id })
    end
    return row
  end

  -- What this manager may write: the live record of a run, or its row. Returns it, then the live record if it is one.
  -- A run that is to be claimed is nobody's to write, only to stop (`stopping`).
  function Manager:_to_write(run_id, stopping)
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

  --- Changes a run's status; no queue is asked.
  --- Raises for wrong types. Fails with invalid_request, invalid_transition (from, to), not_found, stale_owner (another
  --- owns it) and what writing fails with; then the record has the status that is stored.
  ---@param run_id string
  ---@param status string
  ---@param options? { error?: string, stop_reason?: string }
  ---@return keel.Run? run
  ---@return keel.Error? err
  function Manager:set_status(run_id, status, options)
    check.type(run_id, "string", 1, "set_status")
    check.type(status, "string", 2, "set_status")
    options = check.options(options, { error = "string", stop_reason = "string" }, 3, "set_status")
    local change = { error = options.error, stop_reason = options.stop_reason }
    local row, record, err = self:_to_write(run_id)
    if not row then return nil, err end
    if record then return self:_change_status(record, status, change) end
    if status == "running" then
      err = self:_not_startable(row)
      if err then return nil, err end
    end
    change.fence = row.fence
    local found
    found, err = self._client:call("update_status", run_id, status, change)
    if found == nil then return nil, err end
    row, err = self._client:call("get", run_id)
    if not row then return nil, err or errors.no_run(run_id) end
    return LiveRuns.equip(row, true)
  end

  --- Ends a run that has not started with an error. False when it is not pending; then nothing changes.
  --- Fails with stale_owner (another session has it) and what writing fails with.
  ---@param run_id string
  ---@param options? { error?: string }
  ---@return boolean? done
  ---@return keel.Error? err
  function Manager:fail_pending(run_id, options)
    check.type(run_id, "string", 1, "fail_pending")
    options = check.options(options, { error = "string" }, 2, "fail_pending")
    local row, record, err = self:_to_write(run_id, true)
    if not row then
      if err.code == "not_found" then return false end
      return nil, err
    end
    local done, written
    done, err = self._client:transaction("fail_pending", function(tx)
      local stored, failure = tx:get(run_id)
      if failure then return nil, failure end
      if not stored or stored.status ~= "pending" then return false end
      local found
      found, written = tx:update_status(run_id, "error", { error = options.error, fence = row.fence })
      if found == nil then return nil, written end
      return found
    end)
    if not record then return done, err end
    if done then
      self:_apply(record, written, { status = "error", error = options.error })
      self:_abort(record)
    else
      self:_refresh(record)
    end
    return done, err
  end

  local function write_fields(self, method, run_id, fields)
    local row, record, err = self:_to_write(run_id)
    if not row then
      if err.code == "not_found" then return false end
      return nil, err
    end
    local given = { fence = row.fence }
    for name, value in pairs(fields) do given[name] = value end
    local found, written = self._client:call(method, run_id, given)
    if found == nil then
      if record then after_refusal(self, record, written) end
      return nil, written
    end
    if found and record then
      self:_apply(record, written, fields)
      if fields.token_usage_by_model and type(written) == "table" and written.revision then
        record.token_usage_by_model = kernel.json.copy(fields.token_usage_by_model)
      end
      -- The outcome that was asked for is not what the row has: somebody ended the run before.
      if fields.status and record.status ~= fields.status then self:_refresh(record) end
    end
    return found
  end

  --- Writes what a run came to: its outcome and counters. An outcome that is final already stays; the counters are
  --- kept. A row that vanished is made again once. Raises for unknown fields and wrong types.
  --- Fails with invalid_request, stale_owner and what writing fails with; false when there is no such run.
  ---@param run_id string
  ---@param fields table status, result, error, error_code, exit_code, stop_reason, and what update_run_progress takes
  ---@return boolean? done
  ---@return keel.Error? err
  function Manager:update_run_completion(run_id, fields)
    check.type(run_id, "string", 1, "update_run_completion")
    check.type(fields, "table", 2, "update_run_completion")
    check.options(fields, completion_fields, 2, "update_run_completion")
    local found, err = write_fields(self, "update_run_completion", run_id, fields)
    if found ~= false then return found, err end
    local record = self._live:get(run_id)
    if not record then return false end
    local made
    made, err = self._client:call("put", run_id, row_of(record))
    if not made then return nil, err end
    found, err = write_fields(self, "update_run_completion", run_id, fields)
    if found == false then
      self._client:log("warn", "update_run_completion affected no rows after row recreation", { run_id = run_id })
    end
    return found, err
  end

  --- Writes counters while a run is running; in any other status it changes nothing.
  --- Raises for unknown fields and wrong types. Fails with invalid_request, stale_owner and what writing fails with;
  --- false when there is no such run.
  ---@param run_id string
  ---@param fields table the counters, progress, token_usage_by_model, last_ai_message, first_human_message, model_name
  ---@return boolean? done
  ---@return keel.Error? err
  function Manager:update_run_progress(run_id, fields)
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
  function Manager:update_model_name(run_id, name)
    check.type(run_id, "string", 1, "update_model_name")
    check.type(name, "string", 2, "update_model_name")
    local row, record, err = self:_to_write(run_id)
    if not row then
      if err.code == "not_found" then return false end
      return nil, err
    end
    local done, written
    done, err = self._client:transaction("update_model_name", function(tx)
      local stored, failure = tx:get(run_id)
      if failure then return nil, failure end
      if not stored then return false end
      if stored.fence ~= row.fence then return nil, lost(run_id) end
      local ok
      ok, written = tx:put(run_id, { model_name = name })
      if not ok then return nil, written end
      return true
    end)
    if not done then
      if record and err then after_refusal(self, record, err) end
      return done, err
    end
    if record then self:_apply(record, written, { model_name = name }) end
    return true
  end
end
