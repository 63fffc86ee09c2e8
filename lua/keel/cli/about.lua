--- All about a run: its fields, and why it is not running.
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local shape = require "keel.cli.shape"

local about = {}

-- In the order of interest; the rest follows by name.
local first = { "run_id", "thread_id", "status", "error", "error_code", "exit_code", "stop_reason", "cancel_action",
  "created_at", "started_at", "ended_at", "multitask_strategy", "attempt", "max_attempts", "user_id", "logs_path",
  "artifacts_path", "metadata", "kwargs" }

-- What says nothing when it has this value.
local silent = { priority = 0, losses = 0, claimable = false, finalizing = false, operation_kind = "run",
  on_disconnect = "cancel", fence = 1 }

local function shown(name, value)
  local is_counter = name:find "_count$" or name:find "tokens$"
  if value == nil or value == silent[name] or is_counter and value == 0 then return nil end
  if type(value) ~= "table" then return value end
  return next(value) ~= nil and value or nil
end

--- Why it is not running, as the manager tells, and what it does not.
---@param store keel.Store
---@param manager keel.RunManager
---@param run keel.Run
---@return table? answer what `explain` of a manager gives
---@return keel.Error? err
function about.explain(store, manager, run)
  local answer, err = manager:explain(run.run_id)
  if not answer then return nil, err end
  if answer.note then answer.reason = answer.reason .. "; " .. answer.note end
  local is_known = answer.waits_for ~= "recovery" or answer.reason:find("owner is gone: it waits", 1, true)
  if opening.is_orphan(store, run) and is_known then
    answer.reason = "its process is gone: 'keel reconcile' recovers it"
  end
  return answer
end

--- Names and values, in the order of interest.
---@param run keel.Run
---@param answer table what `explain` of a manager gives
---@return table[] rows
function about.fields(run, answer)
  local fields, rows, seen = shape.fields(run), {}, {}
  for _, name in ipairs(first) do
    rows[#rows + 1], seen[name] = { name, shown(name, fields[name]) }, true
  end
  local rest = {}
  for name in pairs(fields) do
    if not seen[name] then rest[#rest + 1] = name end
  end
  table.sort(rest)
  for _, name in ipairs(rest) do rows[#rows + 1] = { name, shown(name, fields[name]) } end
  rows[#rows + 1] = { "why", answer.reason }
  for i, reason in ipairs(answer.reasons or {}) do
    local at = reason.startable_at and (" (until %s)"):format(reason.startable_at) or ""
    if i == 1 and reason.reason == answer.reason then
      rows[#rows] = { "why", answer.reason .. at }
    else
      rows[#rows + 1] = { "and", reason.reason .. at }
    end
  end
  rows[#rows + 1] = { "waited", answer.waited and output.duration(answer.waited) }
  return rows
end

return about
