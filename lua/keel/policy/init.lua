--- Policies by name: the built-in scripts, those given to a manager, functions, and loaded files. And how one is
--- called: with a budget.
local LoadedPolicy = require "keel.policy.loaded"
local check = require "keel.check"
local decisions = require "keel.policy.decision"
local documents = require "keel.store.documents"
local errors = require "keel.errors"
local kernel = require "keel.kernel"
local options = require "keel.policy.options"
local questions = require "keel.policy.questions"

---@class keel.Policy
---@field name string what is recorded: a name, or "custom"
---@field version string a hash of its source; of a host's function, of where it is defined
---@field call? fun(...): table? of the host's state
---@field box? keel.Sandbox in place of it: a state of its own
---@field reads? function|true of a strategy: what it wants to know before it decides; true: the box has it
---@field idle? keel.Decision of a strategy: what it decides whenever nothing is in flight on the thread
---@field is_built_in? boolean
---@field of_host? boolean a function of the host

---@class keel.PolicyBudget
---@field instructions integer
---@field seconds number
---@field bytes integer of a loaded policy: what it may allocate in a call

local policies = {}

-- The scripts in the folder of each kind.
local built_in = {
  strategies = { "reject", "interrupt", "rollback", "enqueue", "reuse", "replace_pending", "debounce", "limit",
    "preempt", "allow" },
  reconcilers = { "recover_orphans", "fail_orphans", "requeue_orphans", "expire_deadlines", "dispatcher_died" },
  diagnostics = { "runtime.local_default_resources", "worker.tools_less" },
  schedules = {}, -- cron and every are no policies
}

--- The budget of a policy when none is given.
---@type keel.PolicyBudget
policies.default_budget = LoadedPolicy.default_budget

-- `bytes` bounds what a loaded policy allocates in its own state; a function of the host shares the host's memory.
local budget_options = { instructions = "integer", seconds = "number", bytes = "number" }

--- The budget that a caller gave as an argument of a function, or as an option in it.
--- Raises for wrong types and unknown fields, with the caller of the function as the place. Fails with invalid_request
--- (policy_budget).
---@param given? { instructions?: integer, seconds?: number, bytes?: number }
---@param default keel.PolicyBudget for what is not given
---@param argument integer
---@param name string the function's
---@return keel.PolicyBudget? budget
---@return keel.Error? err
function policies.budget(given, default, argument, name)
  given = check.options(given, budget_options, argument, name, 1)
  local budget = {
    instructions = given.instructions or default.instructions,
    seconds = given.seconds or default.seconds,
    bytes = math.tointeger(given.bytes or default.bytes) or given.bytes,
  }
  local positive = budget.instructions >= 1 and budget.seconds > 0 and budget.bytes >= 1 -- false for NaN as well
  if positive then return budget end
  return nil, errors.new("invalid_request", "policy_budget must have more than 0 instructions, seconds and bytes",
    { field = "policy_budget" })
end

local function short_hash(text)
  return kernel.sha256(text):sub(1, 16)
end

-- What a program that carries Keel's files says of itself: a function that gives the source of one of them.
local carried = package.loaded["keel.carried"]

-- The source of a built-in policy, and where it is from. Nothing: some other loader knows the module.
local function source_of(module)
  local source = carried and carried(module)
  if source then return source, module:gsub("%.", "/") .. ".lua" end
  local path = not package.preload[module] and package.searchpath(module, package.path)
  local file = path and io.open(path, "rb")
  if not file then return nil end
  source = file:read "a"
  file:close()
  return source, path
end

-- What tells one function of the host from another: where its source begins and ends.
local function place_of(fn)
  local info = debug.getinfo(fn, "S")
  return ("%s:%d-%d"):format(info.source, info.linedefined, info.lastlinedefined)
end

local function version_of(fn, reads)
  if type(fn) ~= "function" then return "unknown" end
  return short_hash(place_of(fn) .. (reads and " " .. place_of(reads) or ""))
end

-- kind -> name -> policy.
local loaded = { strategies = {}, reconcilers = {}, diagnostics = {}, schedules = {} }

-- What a built-in strategy decides on an idle thread, unless it is given options; those that are not here have to be
-- asked there, too.
local one_at_a_time = { admit = true, concurrency = 1 }
local idle = { reject = { admit = true }, interrupt = { admit = true }, rollback = { admit = true },
  reuse = { admit = true }, allow = { admit = true }, enqueue = one_at_a_time, limit = one_at_a_time,
  replace_pending = one_at_a_time, preempt = one_at_a_time }

local function load_built_in(kind, name)
  local module = ("keel.%s.%s"):format(kind, name)
  local source, path = source_of(module)
  local call = package.loaded[module] or source and assert(load(source, "@" .. path, "t"))() or require(module)
  package.loaded[module] = call
  local policy = { name = name, version = source and short_hash(source) or version_of(call), call = call,
    idle = kind == "strategies" and idle[name] or nil, is_built_in = true }
  loaded[kind][name] = policy
  return policy
end

-- All of them are loaded with this file, as later the host may have changed its root, or another version of Keel may be
-- installed; those that the program carries, when they are asked for.
for kind, names in pairs(built_in) do
  local is_known = {}
  for _, name in ipairs(names) do
    is_known[name] = true
    if not carried then load_built_in(kind, name) end
  end
  setmetatable(loaded[kind], { __index = function(_, name)
    return is_known[name] and load_built_in(kind, name) or nil
  end })
end

local by_function = setmetatable({}, { __mode = "k" })

local function of_value(fn, name)
  if LoadedPolicy.is(fn) then return fn:as_policy(name) end
  name = name or "custom"
  local known = by_function[fn]
  if not known or known.name ~= name then
    local of_table = type(fn) == "table" and fn or {}
    local call = of_table.decide or fn
    known = { name = name, version = version_of(call, of_table.reads), call = call, of_host = true,
      idle = of_table.idle, reads = of_table.reads }
    by_function[fn] = known
  end
  return known
end

--- Finds a policy.
---@param kind "strategies"|"reconcilers"|"diagnostics"|"schedules"
---@param wanted string|function|keel.LoadedPolicy a name, or the policy itself
---@param own? table<string, function|keel.LoadedPolicy|true> the manager's own, by name; true: only others have it
---@return keel.Policy? policy
---@return string[]? known the names there are, when there is none of that name
function policies.find(kind, wanted, own)
  if type(wanted) ~= "string" then return of_value(wanted) end
  local mine = own and own[wanted]
  if mine and mine ~= true then return of_value(mine, wanted) end
  if loaded[kind][wanted] then return loaded[kind][wanted] end
  local known = { table.unpack(built_in[kind]) }
  for name, value in pairs(own or {}) do
    if value ~= true then known[#known + 1] = name end
  end
  table.sort(known)
  return nil, known
end

--- The names of the built-in policies of a kind, in their order.
---@param kind "strategies"|"reconcilers"|"diagnostics"|"schedules"
---@return string[]
function policies.built_in(kind)
  return { table.unpack(built_in[kind]) }
end

--- What is wrong with the options that a strategy is to be given, if it is built in; others know their own.
---@param policy keel.Policy
---@param given? table
---@return string? misuse an unknown name or a wrong type
---@return keel.Error? err invalid_request, about a value
function policies.check_options(policy, given)
  if not given or loaded.strategies[policy.name] ~= policy then return nil end
  return options.check(policy.name, given)
end

-- What a strategy's table may have.
local of_tables = { decide = "function", idle = "table", reads = "function" }

-- What is wrong with a table that is to be a strategy.
local function check_table(value)
  if type(value.decide) ~= "function" then return "must be a table with the function 'decide'" end
  for name, member in next, value do
    local expected = of_tables[name]
    if not expected then
      return ("has the unknown field '%s'%s"):format(tostring(name), check.did_you_mean(name, of_tables))
    end
    if type(member) ~= expected then return ("'%s' must be a %s, got %s"):format(name, expected, type(member)) end
  end
  if value.idle and value.reads then return "has idle and reads: a strategy has one of them" end
  if not value.idle then return nil end
  local decision, problem = decisions.check(value.idle, {}, {})
  return not decision and "has an 'idle' that is no decision: " .. problem or nil
end

--- Whether a value may stand where a policy is asked for: a function, or a loaded one.
---@param value any
---@return boolean
function policies.is_policy(value)
  return type(value) == "function" or LoadedPolicy.is(value)
end

--- Whether a value may stand where a strategy is asked for: that may be a table { idle, reads, decide } as well.
---@param value any
---@return boolean
---@return string? problem of a table
function policies.is_strategy(value)
  if policies.is_policy(value) then return true end
  if type(value) ~= "table" or getmetatable(value) ~= nil then return false end
  local problem = check_table(value)
  return not problem, problem
end

--- What a strategy says that it decides whenever nothing is in flight on the thread, when that is so: then it is not
--- asked. Those built in are: options change what they decide.
---@param policy keel.Policy
---@param count integer runs in flight
---@param finalizing string[] runs that have ended and are not settled
---@return table? decision unchecked
function policies.idle_of(policy, count, finalizing)
  if policy.is_built_in or count > 0 or #finalizing > 0 then return nil end
  return policy.idle
end

--- Looks whether the file of a loaded policy has changed; to be called outside of transactions.
---@param policy any a policy, or the name of one
---@param log fun(level: string, message: string, fields: table)
function policies.refresh(policy, log)
  if LoadedPolicy.is(policy) then policy:refresh(log) end
end

--- The same for policies by their names; nil: there are none.
---@param own? table<string, any>
---@param log fun(level: string, message: string, fields: table)
function policies.refresh_all(own, log)
  if not own then return end
  for _, policy in pairs(own) do policies.refresh(policy, log) end
end

local function bounded(policy, part, budget, ...)
  if policy.box then
    documents.show(...)
    return policy.box[part](policy.box, budget.instructions, budget.seconds, budget.bytes, ...)
  end
  return kernel.bounded_call(policy[part], budget.instructions, budget.seconds, ...)
end

-- Where in a script something went wrong, in words. What a function of the host raises has its place in the message.
local function place(policy, line)
  return policy.box and line and (", line %d"):format(line) or ""
end

-- Calls a part of a policy: "call", what it decides, or "reads".
local function invoke(policy, part, budget, ...)
  local ok, result, reason, line, is_block = bounded(policy, part, budget, ...)
  if ok then return result end
  if result == "budget" then
    local what = errors.spent(budget, reason, is_block)
    local message = ("policy %s was stopped%s: %s"):format(policy.name, place(policy, line), what)
    return nil, errors.new("policy_budget", message,
      { policy = policy.name, limit = reason, line = line, reason = what })
  elseif result == "memory" then
    return nil, errors.new("no_memory", "there is no memory for policy " .. policy.name)
  end
  return nil, policies.failed(policy, reason, line)
end

--- Calls a policy under a budget.
--- Fails with policy_failed (policy, line, reason), policy_budget (policy, limit, line, reason), and no_memory.
---@param policy keel.Policy
---@param budget keel.PolicyBudget
---@return table? decision
---@return keel.Error? err
function policies.call(policy, budget, ...)
  return invoke(policy, "call", budget, ...)
end

--- Asks a strategy with `reads` what it wants to know.
--- Fails as policies.call does.
---@param policy keel.Policy
---@param budget keel.PolicyBudget
---@param request table
---@return table<string, keel.Question>? questions
---@return keel.Error? err
function policies.questions(policy, budget, request)
  local answer, err = invoke(policy, "reads", budget, request)
  if err then return nil, err end
  local asked, problem = questions.check(answer)
  if not asked then return nil, policies.failed(policy, problem) end
  return asked
end

--- The error of a policy that failed or decided nonsense. The reason may be any bytes, and the error be part of an
--- event.
---@param policy keel.Policy
---@param reason string
---@param line? integer
---@return keel.Error
function policies.failed(policy, reason, line)
  reason = errors.readable(reason)
  return errors.new("policy_failed", ("policy %s failed%s: %s"):format(policy.name, place(policy, line), reason),
    { policy = policy.name, reason = reason, line = line })
end

return policies
