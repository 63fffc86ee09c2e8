--- The outcome that a reconciler returned, checked.
local check = require "keel.check"
local contract = require "keel.policy.contract"
local kernel = require "keel.kernel"

local outcome = {}

local known = { status = "string", error = "string", error_code = "string", stop_reason = "string",
  requeue = "boolean", delay = "number" }

--- Checks what a reconciler returned.
---@param answer any
---@return keel.Outcome? outcome in a table of its own
---@return string? problem
function outcome.check(answer)
  local given, problem = contract.fields(answer, "the outcome", known)
  if not given then return nil, problem end
  if given.delay and not check.is_duration(given.delay) then
    return nil, "delay must be a number of seconds, at least 0"
  end
  if given.requeue and given.status then return nil, "an outcome has a status, or requeues; not both" end
  if given.requeue then return given end
  if given.delay then return nil, "delay is for outcomes that requeue" end
  if not kernel.final[given.status] then
    return nil, "status must be success, error, timeout or interrupted, or requeue true"
  end
  return given
end

return outcome
