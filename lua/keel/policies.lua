--- Policies by name: the built-in scripts, those given to a manager, and functions. And how one is called: with a
--- budget.
local errors = require "keel.errors"
local kernel = require "keel.kernel"

---@class keel.Policy
---@field name string what is recorded: a name, or "custom"
---@field version string a hash of its source; of a host's function, of where it is defined
---@field call fun(...): table?

---@class keel.PolicyBudget
---@field instructions integer
---@field seconds number

local policies = {}

-- The scripts in the folder of each kind.
local built_in = {
  strategies = { "reject", "interrupt", "rollback", "enqueue", "reuse", "replace_pending", "debounce", "limit",
    "preempt", "allow" },
  reconcilers = { "fail_orphans", "requeue_orphans", "expire_deadlines", "dispatcher_died" },
  diagnostics = { "runtime.local_default_resources", "worker.tools_less" },
}

--- The budget of a policy when none is given.
---@type keel.PolicyBudget
policies.default_budget = { instructions = 1000000, seconds = 0.05 }

local function short_hash(text)
  return kernel.sha256(text):sub(1, 16)
end

local function hash_of_file(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local source = file:read("a")
  file:close()
  return source and short_hash(source)
end

-- What tells one function of the host from another: where its source begins and ends.
local function version_of(fn)
  if type(fn) ~= "function" then return "unknown" end
  local info = debug.getinfo(fn, "S")
  return short_hash(("%s:%d-%d"):format(info.source, info.linedefined, info.lastlinedefined))
end

local loaded = { strategies = {}, reconcilers = {}, diagnostics = {} } -- kind -> name -> policy

local function load_built_in(kind, name)
  local module = ("keel.%s.%s"):format(kind, name)
  local path = package.searchpath(module, package.path)
  local call = require(module)
  local policy = { name = name, version = path and hash_of_file(path) or version_of(call), call = call }
  loaded[kind][name] = policy
  return policy
end

local by_function = setmetatable({}, { __mode = "k" })

local function of_function(fn, name)
  local known = by_function[fn]
  if not known or known.name ~= name then
    known = { name = name, version = version_of(fn), call = fn }
    by_function[fn] = known
  end
  return known
end

--- Finds a policy.
---@param kind "strategies"|"reconcilers"|"diagnostics"
---@param wanted string|function a name, or the function itself
---@param own? table<string, function> the manager's own, by name
---@return keel.Policy? policy
---@return string[]? known the names there are, when there is none of that name
function policies.find(kind, wanted, own)
  if type(wanted) == "function" then return of_function(wanted, "custom") end
  if own and own[wanted] then return of_function(own[wanted], wanted) end
  local known_already = loaded[kind][wanted]
  if known_already then return known_already end
  for _, name in ipairs(built_in[kind]) do
    if name == wanted then return load_built_in(kind, name) end
  end
  local known = { table.unpack(built_in[kind]) }
  for name in pairs(own or {}) do known[#known + 1] = name end
  table.sort(known)
  return nil, known
end

--- The names of the built-in policies of a kind, in their order.
---@param kind "strategies"|"reconcilers"|"diagnostics"
---@return string[]
function policies.built_in(kind)
  return { table.unpack(built_in[kind]) }
end

--- Calls a policy under a budget.
--- Fails with policy_failed (policy, line, reason) and policy_budget (policy, limit).
---@param policy keel.Policy
---@param budget keel.PolicyBudget
---@return table? decision
---@return keel.Error? err
function policies.call(policy, budget, ...)
  local ok, result, reason, line = kernel.bounded_call(policy.call, budget.instructions, budget.seconds, ...)
  if ok then return result end
  if result == "budget" then
    return nil, errors.new("policy_budget", ("policy %s spent its budget of %s"):format(policy.name, reason),
      { policy = policy.name, limit = reason, line = line })
  end
  return nil, policies.failed(policy, reason, line)
end

--- The error of a policy that failed or decided nonsense.
---@param policy keel.Policy
---@param reason string
---@param line? integer
---@return keel.Error
function policies.failed(policy, reason, line)
  return errors.new("policy_failed", ("policy %s failed: %s"):format(policy.name, reason),
    { policy = policy.name, reason = reason, line = line })
end

return policies
