--- The diagnostics that a rule returned, checked.
local check = require "keel.check"
local contract = require "keel.policy.contract"
local kernel = require "keel.kernel"

local diagnostic = {}

local known = { severity = "string", code = "string", message = "string", subject = true }
local severities = { info = true, warning = true, error = true }

-- A subject without what metamethods add: a worker's ref, of a worker or a ref; a run's id.
local function subject_of(given)
  if type(given) ~= "table" then return given end
  return { runtime_id = rawget(given, "runtime_id"), worker_id = rawget(given, "worker_id") }
end

local function check_one(answer)
  local given, problem = contract.fields(answer, "a diagnostic", known)
  if not given then return nil, problem end
  for _, name in ipairs { "severity", "code", "message" } do
    if not given[name] then return nil, ("a diagnostic's %s must be a string"):format(name) end
  end
  if not severities[given.severity] then return nil, "a diagnostic's severity must be info, warning or error" end
  if given.code == "" or #given.code > kernel.limits.id or check.has_control(given.code) then
    return nil, ("a diagnostic's code must be 1 to %d bytes of UTF-8 without control characters"):format(
      kernel.limits.id)
  end
  local subject = subject_of(given.subject)
  given.subject = subject
  local is_ref = type(subject) == "table" and type(subject.runtime_id) == "string"
    and type(subject.worker_id) == "string"
  if subject ~= nil and type(subject) ~= "string" and not is_ref then
    return nil, "a diagnostic's subject must be a worker ref, a run id or nil"
  end
  return given
end

--- Checks what a rule returned.
---@param answer any
---@return keel.Diagnostic[]? noticed in tables of their own
---@return string? problem
function diagnostic.check(answer)
  if type(answer) ~= "table" then return nil, "a rule returns a list of diagnostics, not a " .. type(answer) end
  local noticed = contract.list(answer, "what a rule returns")
  if not noticed then return nil, "a rule returns a list of diagnostics, also when it noticed one thing" end
  for i, one in ipairs(noticed) do
    local problem
    noticed[i], problem = check_one(one)
    if problem then return nil, problem end
  end
  return noticed
end

return diagnostic
