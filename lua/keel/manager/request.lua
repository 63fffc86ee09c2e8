--- What a caller asks for when he makes a run, checked, and made the fields of a new row and the strategy that decides.
local check = require "keel.check"
local errors = require "keel.errors"
local kernel = require "keel.kernel"
local policies = require "keel.policy"
local wants = require "keel.admission.wants"

local null = kernel.null

local request = {}

-- What may be given for a new run.
local create_options = { multitask_strategy = "string|function|table|policy",
  strategy = "string|function|table|policy", strategy_options = "table",
  idempotency_ttl = "number", idempotency_until = "string", retry_of = "string" }
for name, giver in pairs(kernel.run_givers) do
  if giver == "caller" then create_options[name] = kernel.run_fields[name] end
end

-- What of it is not stored as it was given.
local apart = { multitask_strategy = true, strategy = true, strategy_options = true, idempotency_ttl = true,
  idempotency_until = true, scheduled_at = true, deadline = true, worker_ref = true }

--- The error about a strategy that is not known.
---@param wanted any
---@param known string[]
---@return keel.Error
function request.unsupported(wanted, known)
  return errors.new("unsupported_strategy", ("unknown strategy %s; known are: %s%s"):format(tostring(wanted),
    table.concat(known, ", "), check.did_you_mean(wanted, known)), { known = known })
end

-- A document whose numbers are the same text when Lua finds them equal: 1 and 1.0.
local function with_equal_numbers(value, seen)
  if math.type(value) == "float" then return math.tointeger(value) or value end
  if type(value) ~= "table" or seen[value] then return value end
  seen[value] = true -- whether it is a tree is found out when it is encoded
  local made = {}
  for name, member in next, value do made[name] = with_equal_numbers(member, seen) end
  seen[value] = nil
  return setmetatable(made, getmetatable(value))
end

-- What an idempotency key is compared by: the JSON of what the caller asked for, names in order.
local function payload_of(options)
  local parts = {}
  for i, name in ipairs { "assistant_id", "kwargs", "metadata" } do
    local text, err = kernel.json.encode(with_equal_numbers(options[name] or (i == 1 and null or {}), {}))
    if not text then return nil, errors.new("invalid_request", name .. ": " .. err.message, { field = name }) end
    parts[i] = text
  end
  return "[" .. table.concat(parts, ",") .. "]"
end

-- The fields of an idempotency key.
local function add_key(context, fields, options)
  local ttl = options.idempotency_ttl
  local bad = ttl and check.duration(ttl, "idempotency_ttl", true)
  if bad then return bad end
  local only = options.idempotency_until
  if only and only ~= "success" then
    return errors.new("invalid_request", "idempotency_until must be 'success'", { field = "idempotency_until" })
  end
  if not options.idempotency_key then return nil end
  local text, err = payload_of(options)
  if not text then return err end
  fields.idempotency_hash = kernel.sha256(text)
  if ttl then fields.idempotency_expires_at = context:later(ttl) end
end

-- What names a worker: of its detail or summary, the ref. Anything else is the caller's own, and stays.
local function ref_of(given)
  local ref = given.worker_ref
  if type(ref) ~= "table" or type(ref.worker_id) ~= "string" then return given end
  return ref.worker_id == given.worker_id and ref.runtime_id == given.runtime_id and ref or given
end

-- The handler that the arguments of a run name, if it can be one.
local function handler_in(kwargs)
  local name = kwargs and rawget(kwargs, "handler")
  if check.is_id(name) then return name end
end

-- The times that were asked for, as texts, or the error.
local function times_of(context, options)
  local scheduled_at, deadline, err = options.scheduled_at, options.deadline, nil
  if scheduled_at ~= nil then scheduled_at, err = errors.time(scheduled_at, "scheduled_at", context.now()) end
  if deadline ~= nil and not err then deadline, err = errors.time(deadline, "deadline", context.now()) end
  return scheduled_at, deadline, err
end

-- The strategy that decides, its options, and the error when there is none. `name` is the public function's; `depth` is
-- that of request.new.
local function strategy_of(context, options, name, depth)
  local wanted = options.multitask_strategy or options.strategy
  local strategy_options = options.strategy_options
  if not wanted then
    wanted, strategy_options = context.strategy, strategy_options or context.strategy_options
  end
  context:refresh_policies(wanted)
  local is_strategy, unfit = true, nil
  if type(wanted) ~= "string" then is_strategy, unfit = policies.is_strategy(wanted) end
  if not is_strategy then
    error(("bad argument #2 to '%s' (option 'multitask_strategy' %s)"):format(name, unfit or
      "must be a name, a function, a loaded policy or a table with the function 'decide'"), 4 + depth)
  end
  local policy, known = policies.find("strategies", wanted, context.strategies)
  if not policy then return nil, nil, request.unsupported(wanted, known) end
  local misuse, err = policies.check_options(policy, strategy_options)
  if misuse then error(("bad argument #2 to '%s' (%s)"):format(name, misuse), 4 + depth) end
  if err then return nil, nil, err end
  return policy, strategy_options
end

--- Finds the strategy, and makes the fields of a new run of what was asked for.
---@param core keel.ManagerCore
---@param thread_id string
---@param options? keel.CreateOptions
---@param name string the public function's, which calls this
---@param depth? integer how many functions lie between that function and this one; default 0
---@return table? request for admission
---@return keel.Error? err
function request.new(core, thread_id, options, name, depth)
  depth = depth or 0
  options = check.options(options, create_options, 2, name, depth + 1)
  if options.strategy and options.multitask_strategy then
    error(("bad argument #2 to '%s' (strategy is another name for multitask_strategy: give one)"):format(name),
      3 + depth)
  end
  local context = core.context
  local scheduled_at, deadline, err = times_of(context, options)
  -- A run whose reconciler nobody knows would be left as it is when its owner dies, and hold its thread.
  local reconciler = options.reconciler
  local told = reconciler == nil or context.reconcilers and context.reconcilers[reconciler] == true
  err = err or not told and context:check_reconciler(reconciler) or nil
  if options.timeout and not err then err = check.duration(options.timeout, "timeout", true) end
  if err then return nil, err end
  local policy, strategy_options
  policy, strategy_options, err = strategy_of(context, options, name, depth)
  if not policy then return nil, err end
  local run_id
  run_id, err = kernel.new_id()
  if not run_id then return nil, err end
  local session_id, lease_expires_at
  if not options.claimable then
    session_id, err = core.client:session_id()
    if err then return nil, err end
    lease_expires_at = context:lease_end()
  end
  local fields = { run_id = run_id, thread_id = thread_id, status = "pending", session_id = session_id,
    lease_expires_at = lease_expires_at, on_disconnect = "cancel", operation_kind = "run",
    multitask_strategy = policy.name, attempt = 1 }
  for field, value in next, options do
    if not apart[field] then fields[field] = value end
  end
  if scheduled_at then fields.scheduled_at = scheduled_at end
  if deadline then fields.deadline = deadline end
  if options.worker_ref then fields.worker_ref = ref_of(options.worker_ref) end
  if options.kwargs and not options.handler then fields.handler = handler_in(options.kwargs) end
  err = add_key(context, fields, options) or wants.check(fields)
  if err then return nil, err end
  return { run_id = run_id, thread_id = thread_id, fields = fields, policy = policy,
    key_until = options.idempotency_until,
    strategy_options = strategy_options, scheduled_at = scheduled_at, slots = fields.slots, rates = fields.rates }
end

return request
