--- The record of a test run: what dispatchers give and take, checked, and how it is kept as a run of the kernel.
local check = require "keel.check"
local errors = require "keel.errors"
local kernel = require "keel.kernel"

--- A test run, a copy of what is stored.
---@class keel.TestRun
---@field id string
---@field machine string
---@field test_dir string "" when unset, like all texts here
---@field test_dir_hash string
---@field status keel.TestRunStatus
---@field exit_code? integer
---@field started_at? string time
---@field ended_at? string time
---@field artifacts_path string
---@field logs_path string
---@field error_code string
---@field error_msg string
---@field batch_id? string absent when unset
---@field plan_entry? string absent when unset; its place in the batch
---@field revision? integer of the row this is a copy of

---@alias keel.TestRunStatus "pending"|"running"|"completed"|"failed"|"interrupted"|"timeout" the last four are terminal

local record = {}

local PREFIX = kernel.machine_prefix
local ID_MAX = kernel.limits.id

-- The statuses here, and what the kernel calls them.
local kernel_status = { pending = "pending", running = "running", completed = "success", failed = "error",
  interrupted = "interrupted", timeout = "timeout" }
local face_status = {}
for face, status in pairs(kernel_status) do face_status[status] = face end

--- The statuses, in the order they are counted in.
record.statuses = { "pending", "running", "completed", "failed", "interrupted", "timeout" }

local terminal = { completed = true, failed = true, interrupted = true, timeout = true }

--- Whether a run of a status has ended. False for what is no status.
---@param status string
---@return boolean
function record.is_terminal(status)
  if type(status) ~= "string" then
    error(("bad argument #1 to 'is_terminal' (string expected, got %s)"):format(type(status)), 2)
  end
  return terminal[status] == true
end

-- --- Checking -------------------------------------------------------------------------------------------------------

-- Each gives the value as it is kept, or nil and what is wrong with it.
local function check_text(text)
  if not utf8.len(text) then return nil, "is not valid UTF-8" end
  return text
end

local function check_id(text, longest)
  if text == "" then return nil, "must not be empty" end
  if #text > (longest or ID_MAX) then
    return nil, ("has %d bytes, at most %d are allowed"):format(#text, longest or ID_MAX)
  end
  if check.has_control(text) then return nil, "has a control character" end
  return check_text(text)
end

local function check_machine(name)
  return check_id(name, ID_MAX - #PREFIX)
end

local function check_optional_id(text)
  if text == "" then return nil end
  return check_id(text)
end

local function check_optional_text(text)
  if text == "" then return nil end
  return check_text(text)
end

local function check_status(status)
  if kernel_status[status] then return status end
  return nil, "must be one of: " .. table.concat(record.statuses, ", ")
end

local function check_time(time)
  local utc = kernel.time_utc(time)
  if utc then return utc end
  return nil, "is not an RFC 3339 time"
end

local function keep(value) return value end

local rules = {
  id = { "string", check_id }, machine = { "string", check_machine }, test_dir = { "string", check_text },
  test_dir_hash = { "string", check_id }, status = { "string", check_status }, exit_code = { "integer", keep },
  started_at = { "string", check_time }, ended_at = { "string", check_time },
  artifacts_path = { "string", check_text }, logs_path = { "string", check_text },
  error_code = { "string", check_text }, error_msg = { "string", check_text },
  batch_id = { "string", check_optional_id }, plan_entry = { "string", check_optional_text },
  revision = { "integer", keep },
}

-- Texts that are "" when they are unset.
local texts = { "test_dir", "artifacts_path", "logs_path", "error_code", "error_msg" }

local function fits(value, expected)
  if expected == "integer" then return math.type(value) == "integer" end
  return type(value) == expected
end

local function misuse(field, problem)
  local err = errors.invalid(field, problem)
  err.misuse = true
  return err
end

--- Checks a record: a copy in which times are UTC, what is unset has its default, and keel.null is unset.
---@param given table
---@return table? checked
---@return keel.Error? err `misuse` is true for a wrong type and an unknown field
function record.check(given)
  local checked = {}
  for name in pairs(given) do
    if not rules[name] then return nil, misuse(tostring(name), "is not a field of a test run") end
  end
  for name, rule in pairs(rules) do
    local value = given[name]
    if value ~= nil and value ~= kernel.null then
      if not fits(value, rule[1]) then
        local expected = rule[1] == "integer" and "whole number" or rule[1]
        return nil, misuse(name, ("must be a %s, got %s"):format(expected, type(value)))
      end
      local problem
      checked[name], problem = rule[2](value)
      if problem then return nil, errors.invalid(name, problem) end
    end
  end
  for _, name in ipairs(texts) do checked[name] = checked[name] or "" end
  return checked
end

--- Checks one field by itself; the error when it is wrong.
---@param name string
---@param value any
---@return keel.Error? err
function record.check_field(name, value)
  local _, problem = rules[name][2](value)
  if problem then return errors.invalid(name, problem) end
end

--- The error when a field that a record needs is not there.
---@param checked table
---@param ... string names
---@return keel.Error? err
function record.missing(checked, ...)
  for _, name in ipairs { ... } do
    if checked[name] == nil then return errors.invalid(name, "must be given") end
  end
end

-- --- Keeping --------------------------------------------------------------------------------------------------------

local function unless_empty(text)
  if text == nil or text == "" then return kernel.null end
  return text
end

--- The thread of a machine.
---@param machine string
---@return string thread_id
function record.thread_of(machine)
  return PREFIX .. machine
end

--- The kernel's fields of a checked record. Times that are not there are left out: the kernel stamps them.
---@param checked table
---@return table fields what is unset is keel.null
function record.to_fields(checked)
  return {
    fingerprint = checked.test_dir_hash, status = kernel_status[checked.status],
    exit_code = checked.exit_code or kernel.null, started_at = checked.started_at, ended_at = checked.ended_at,
    artifacts_path = unless_empty(checked.artifacts_path), logs_path = unless_empty(checked.logs_path),
    error_code = unless_empty(checked.error_code), error = unless_empty(checked.error_msg),
    batch_id = unless_empty(checked.batch_id), plan_entry = unless_empty(checked.plan_entry),
    kwargs = { test_dir = checked.test_dir },
  }
end

--- The record of a row, or of the fields of one.
---@param row table
---@return keel.TestRun
function record.of_row(row)
  local function value(name)
    local found = row[name]
    if found ~= kernel.null then return found end
  end
  return {
    id = row.run_id, machine = row.thread_id:sub(#PREFIX + 1), test_dir = row.kwargs and row.kwargs.test_dir or "",
    test_dir_hash = value "fingerprint" or "", status = face_status[row.status], exit_code = value "exit_code",
    started_at = value "started_at", ended_at = value "ended_at", artifacts_path = value "artifacts_path" or "",
    logs_path = value "logs_path" or "", error_code = value "error_code" or "", error_msg = value "error" or "",
    batch_id = value "batch_id", plan_entry = value "plan_entry", revision = row.revision,
  }
end

-- --- Errors ---------------------------------------------------------------------------------------------------------

local face_field = { run_id = "id", thread_id = "machine", kwargs = "test_dir", fingerprint = "test_dir_hash",
  error = "error_msg" }

--- An error of the kernel in the words of a dispatcher.
---@param err keel.Error
---@param run_id? string
---@return keel.Error
function record.in_own_words(err, run_id)
  local fields = {}
  for name, value in pairs(err) do fields[name] = value end
  fields.field = face_field[err.field] or err.field
  local message = err.message
  if err.code == "invalid_transition" then
    fields.run_id, fields.from, fields.to = run_id, face_status[err.from], face_status[err.to]
    message = ("run %s is %s and cannot become %s"):format(run_id, fields.from, fields.to)
  elseif fields.field ~= err.field then
    message = message:gsub("^" .. err.field, fields.field, 1)
  end
  fields.code, fields.message = nil, nil
  return errors.new(err.code, message, fields)
end

return record
