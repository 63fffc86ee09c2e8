--- The diagnostic rules of a runtime: which there are, and asking them in the transaction of a change.
---
--- A rule is a policy: pure, called under a budget with a snapshot of what has just happened. One that fails, overruns
--- or returns nonsense rolls the change back, like any policy.
local diagnostics = require "keel.policy.diagnostic"
local kernel = require "keel.kernel"
local policies = require "keel.policy"

local rules = {}

---@class keel.DiagnosticRules
---@field package built_in keel.Policy[] they look at workers that are made, and at nothing else
---@field package own string[] the names of the runtime's own: they look at everything
---@field package map table<string, keel.DiagnosticRule|false>

--- Finds the rules of a runtime: the built-in ones first, then its own by name.
---@param own? table<string, keel.DiagnosticRule|false> a built-in one's name replaces it; false: not this one
---@return keel.DiagnosticRules
function rules.of(own)
  local found, is_built_in = { built_in = {}, own = {}, map = {} }, {}
  for name, rule in pairs(own or {}) do found.map[name] = rule or nil end
  for _, name in ipairs(policies.built_in "diagnostics") do
    is_built_in[name] = true
    if not own or own[name] == nil then
      found.built_in[#found.built_in + 1] = policies.find("diagnostics", name)
    elseif own[name] then
      found.own[#found.own + 1] = name
    end
  end
  local names = {}
  for name, rule in pairs(own or {}) do
    if rule and not is_built_in[name] then names[#names + 1] = name end
  end
  table.sort(names)
  table.move(names, 1, #names, #found.own + 1, found.own)
  return found
end

--- Whether any rule wants to know of a change.
---@param self keel.DiagnosticRules
---@param cause string
---@return boolean
function rules.look_at(self, cause)
  return #self.own > 0 or (cause == "worker_created" and #self.built_in > 0)
end

-- Asks one rule, and records what it noticed. It gets a copy: what it writes there is nobody else's.
local function ask(tx, runtime_id, rule, snapshot)
  local answer, err = policies.call(rule, policies.default_budget, kernel.json.copy(snapshot))
  if err then return nil, err end
  if answer == nil then return true end
  local noticed, problem = diagnostics.check(answer)
  if not noticed then return nil, policies.failed(rule, problem) end
  for _, diagnostic in ipairs(noticed) do
    local id
    id, err = tx:record_diagnostic(runtime_id, diagnostic)
    if not id and (err.code == "invalid_request" or err.code == "limit_too_large" or err.code == "not_found") then
      return nil, policies.failed(rule, err.message)
    elseif not id then
      return nil, err
    end
  end
  return true
end

--- Looks whether the files of loaded rules have changed; to be called outside of transactions.
---@param self keel.DiagnosticRules
---@param log fun(level: string, message: string, fields: table)
function rules.refresh(self, log)
  policies.refresh_all(self.map, log)
end

--- Asks the rules that want to know of a change, in its transaction.
--- Fails with policy_failed, policy_budget, and what writing fails with.
---@param self keel.DiagnosticRules
---@param tx keel.Transaction
---@param change { cause: string, now: string, runtime_id: string, worker: table, input?: table }
---@return true? done
---@return keel.Error? err
function rules.ask(self, tx, change)
  if not rules.look_at(self, change.cause) then return true end
  local runtime, err = tx:runtime_summary(change.runtime_id)
  if not runtime then return nil, err end
  local snapshot = { cause = change.cause, now = change.now, runtime = runtime, worker = change.worker,
    input = change.input }
  local asked = change.cause == "worker_created" and { table.unpack(self.built_in) } or {}
  for _, name in ipairs(self.own) do asked[#asked + 1] = policies.find("diagnostics", name, self.map) end
  for _, rule in ipairs(asked) do
    local ok
    ok, err = ask(tx, change.runtime_id, rule, snapshot)
    if not ok then return nil, err end
  end
  return true
end

return rules
