--- The run manager: applies what policies decide, and keeps the live records.
---
--- Data flows one way: caller → manager → strategy decides → kernel writes row and event in one transaction. A
--- live record is changed only after its row was; a write that fails leaves it as it is.
local Client = require "keel.store.client"
local LiveRuns = require "keel.manager.live_runs"
local Retry = require "keel.retry"
local admission = require "keel.admission"
local check = require "keel.check"
local documents = require "keel.store.documents"
local errors = require "keel.errors"
local kernel = require "keel.kernel"
local policies = require "keel.policy"
local recovery = require "keel.recovery"

---@class keel.RunManager
local Manager = {}
Manager.__index = Manager
Manager.__name = "keel.run_manager"

local null, copy = kernel.null, kernel.json.copy

require "keel.manager.status"(Manager)
require "keel.manager.cancel"(Manager)
require "keel.manager.reading"(Manager)
require "keel.manager.starting"(Manager)
require "keel.manager.owning"(Manager)
require "keel.manager.reserving"(Manager)
require "keel.manager.explaining"(Manager)

local manager_options = {
  store = "userdata|table|string",
  retry = "retry policy", max_wait = "number",
  strategies = "table",
  strategy = "string|function|table|policy",
  strategy_options = "table",
  fallback_strategy = "string|function|policy",
  reconciler = "string|function|policy",
  reconcilers = "table",
  policy_budget = "table",
  lease_ttl = "number",
  lease_grace = "number",
  settle_timeout = "number",
  record_refusals = "boolean",
  log = "callable",
}

local SETTLE_TIMEOUT = 30   -- seconds that a stopped run may take to come to rest
local LAST = 253402300799.0 -- the end of the year 9999: the last time there is a text for

-- What may be given for a new run.
local create_options = { multitask_strategy = "string|function|table|policy",
  strategy = "string|function|table|policy", strategy_options = "table",
  idempotency_ttl = "number", idempotency_until = "string", retry_of = "string" }
for _, name in ipairs { "assistant_id", "metadata", "kwargs", "on_disconnect", "model_name", "user_id", "priority",
  "handler", "max_attempts", "max_losses", "scheduled_at", "deadline", "batch_id", "plan_entry", "fingerprint",
  "claimable", "reconciler", "worker_ref", "idempotency_key" } do
  create_options[name] = kernel.run_fields[name]
end

-- --- Making one -----------------------------------------------------------------------------------------------------

-- Of a reconciler that others know, the name is enough: `named` is true.
local function check_functions(map, name, named)
  for key, value in pairs(map or {}) do
    if type(key) ~= "string" or not (policies.is_policy(value) or value == named) then
      error(("bad argument #1 to 'run_manager' (option '%s' must map names to functions and loaded policies; " ..
        "'%s' is a %s)"):format(name, tostring(key), type(value)), 3)
    end
  end
end

-- The times a manager is given, in seconds. Returns the error when one is none.
local function check_times(options)
  local ttl = options.lease_ttl
  if ttl and not (ttl > 0 and ttl < math.huge) then
    return errors.new("invalid_request", "lease_ttl must be a number of seconds greater than 0",
      { field = "lease_ttl" })
  end
  for _, name in ipairs { "lease_grace", "settle_timeout" } do
    local value = options[name]
    if value and not (value >= 0 and value < math.huge) then
      return errors.new("invalid_request", name .. " must be a number of seconds, at least 0", { field = name })
    end
  end
end

local function unsupported(wanted, known)
  return errors.new("unsupported_strategy",
    ("unknown strategy %s; known are: %s"):format(tostring(wanted), table.concat(known, ", ")), { known = known })
end

-- What admission and recovery know of this manager.
local function context_of(self)
  local client = self._client
  return {
    session_id = nil, -- known from the first write on
    budget = self._budget,
    reconcilers = self._reconcilers,
    default_reconciler = self._reconciler,
    left = {}, -- why runs of the last admission were not recovered
    strategies = self._strategies,
    fallback = self._fallback,
    record_refusals = self._record_refusals,
    now = function() return client:now() end,
    log = function(...) return client:log(...) end,
  }
end

--- Makes a manager. Several managers may share a store, in this process and in others.
--- Raises without a store, for unknown options and wrong types. Fails with invalid_request (policy_budget, lease_ttl,
--- lease_grace, settle_timeout, reconciler), unsupported_strategy (strategy, fallback_strategy), and with what
--- opening a store fails with.
---@param options { store: keel.Store|string, retry?: keel.RetryPolicy, max_wait?: number,
--- strategies?: table<string, keel.AnyStrategy>,
--- strategy?: string|keel.AnyStrategy, strategy_options?: table, fallback_strategy?: string|keel.AnyStrategy,
--- reconciler?: string|keel.AnyReconciler, reconcilers?: table<string, keel.AnyReconciler|true>,
--- policy_budget?: { instructions?: integer, seconds?: number, bytes?: number },
--- lease_ttl?: number, lease_grace?: number, settle_timeout?: number, record_refusals?: boolean,
--- log?: fun(level: string, message: string, fields: table) } store: an open one, or the uri of one that is opened
--- here; with ":memory:" nothing outlives the manager; strategy: of runs that name none (default "reject"), with
--- strategy_options for those that give none; fallback_strategy: decides when the strategy that was asked for fails;
--- reconciler: decides over orphans for which neither the run, the call nor the store names one (default
--- recover_orphans); reconcilers: true in place of one says that others know it: runs may name it, and those of dead
--- owners are left to them; lease_ttl: seconds after which a run that no heartbeat has renewed is lost (default:
--- never), and lease_grace: seconds more (default 0); settle_timeout: seconds that a stopped run may take to come to
--- rest before what waits for it goes on (default 30); record_refusals: refused and reused admissions leave events
---@return keel.RunManager? manager
---@return keel.Error? err
function Manager.new(options)
  options = check.options(options, manager_options, 1, "run_manager")
  local unfit = Client.check_max_wait(options.max_wait)
  if unfit then return nil, unfit end
  check_functions(options.strategies, "strategies")
  check_functions(options.reconcilers, "reconcilers", true)
  local budget, store, err
  budget, err = policies.budget(options.policy_budget, policies.default_budget, 1, "run_manager")
  err = err or check_times(options)
  if err then return nil, err end
  local fallback, known
  if options.fallback_strategy then
    fallback, known = policies.find("strategies", options.fallback_strategy, options.strategies)
    if not fallback then return nil, unsupported(options.fallback_strategy, known) end
  end
  local strategy = options.strategy or "reject"
  local default
  default, known = policies.find("strategies", strategy, options.strategies)
  if not default then return nil, unsupported(strategy, known) end
  local problem = policies.check_options(default, options.strategy_options)
  if problem then error(("bad argument #1 to 'run_manager' (%s)"):format(problem), 2) end
  store, err = Client.open(options.store, "run_manager", options.log)
  if not store then return nil, err end
  local manager = setmetatable({
    _client = Client.new(store, options.retry or Retry.new(), options.log, options.max_wait),
    _private = options.store == ":memory:",
    _strategies = options.strategies,
    _reconcilers = options.reconcilers,
    _reconciler = options.reconciler,
    _strategy = strategy,
    _strategy_options = options.strategy_options,
    _fallback = options.fallback_strategy,
    _budget = budget,
    _lease = options.lease_ttl and options.lease_ttl + (options.lease_grace or 0),
    _settle_timeout = options.settle_timeout or SETTLE_TIMEOUT,
    _record_refusals = options.record_refusals,
    _reservations = {}, -- those that could not be ended: id -> the status they are to get
    _live = LiveRuns.new(),
    _left_behind = {}, -- observers that were detached while handlers of theirs went on
  }, Manager)
  err = manager:_check_reconciler(options.reconciler)
  if err then return nil, err end
  manager._context = context_of(manager)
  manager._live.log = manager._context.log
  return manager
end

-- --- Creating -------------------------------------------------------------------------------------------------------

-- The time in so many seconds.
local function later(self, seconds)
  return kernel.time_text(math.min(kernel.time_seconds(self._client:now()) + seconds, LAST))
end

-- When the lease of a run ends that is made or renewed now; nil without leases.
function Manager:_lease_end()
  return self._lease and later(self, self._lease)
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
local function add_key(self, fields, options)
  local ttl = options.idempotency_ttl
  if ttl and not (ttl > 0 and ttl < math.huge) then
    return errors.new("invalid_request", "idempotency_ttl must be a number of seconds greater than 0",
      { field = "idempotency_ttl" })
  end
  local only = options.idempotency_until
  if only and only ~= "success" then
    return errors.new("invalid_request", "idempotency_until must be 'success'", { field = "idempotency_until" })
  end
  if not options.idempotency_key then return nil end
  local text, err = payload_of(options)
  if not text then return err end
  fields.idempotency_hash = kernel.sha256(text)
  if ttl then fields.idempotency_expires_at = later(self, ttl) end
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
  if type(name) == "string" and name ~= "" and check.fit_id(name, 256) == name then return name end
end

-- A time that was asked for, as text; nil when none was, or with the error.
local function time_of(self, options, field)
  if options[field] == nil then return nil end
  return errors.time(options[field], field, self._client:now())
end

-- Finds the strategy, and makes the fields of a new run of what was asked for.
function Manager:_prepare(thread_id, options, name)
  options = check.options(options, create_options, 2, name, 1)
  if options.strategy and options.multitask_strategy then
    error(("bad argument #2 to '%s' (strategy is another name for multitask_strategy: give one)"):format(name), 3)
  end
  local scheduled_at, wrong = time_of(self, options, "scheduled_at")
  if wrong then return nil, wrong end
  local deadline
  deadline, wrong = time_of(self, options, "deadline")
  if wrong then return nil, wrong end
  -- A run whose reconciler nobody knows would be left as it is when its owner dies, and hold its thread.
  local told = self._reconcilers and self._reconcilers[options.reconciler] == true
  local unknown = not told and self:_check_reconciler(options.reconciler) or nil
  if unknown then return nil, unknown end
  local wanted = options.multitask_strategy or options.strategy
  local strategy_options = options.strategy_options
  if not wanted then
    wanted, strategy_options = self._strategy, strategy_options or self._strategy_options
  end
  self:_refresh_policies(wanted)
  if type(wanted) ~= "string" and not policies.is_policy(wanted) then
    error(("bad argument #2 to '%s' (option 'multitask_strategy' must be a name, a function, a loaded policy or a " ..
      "table with the function 'decide')"):format(name), 3)
  end
  local policy, known = policies.find("strategies", wanted, self._strategies)
  if not policy then return nil, unsupported(wanted, known) end
  local problem = policies.check_options(policy, strategy_options)
  if problem then error(("bad argument #2 to '%s' (%s)"):format(name, problem), 3) end
  local run_id, err = kernel.new_id()
  if not run_id then return nil, err end
  local session_id, lease_expires_at
  if not options.claimable then
    session_id, err = self._client:session_id()
    if err then return nil, err end
    lease_expires_at = self:_lease_end()
  end
  local fields = { run_id = run_id, thread_id = thread_id, status = "pending", session_id = session_id,
    lease_expires_at = lease_expires_at, on_disconnect = "cancel", operation_kind = "run",
    multitask_strategy = policy.name, attempt = 1, metadata = options.metadata }
  for field, value in pairs(options) do fields[field] = value end
  fields.strategy_options, fields.strategy, fields.idempotency_ttl = nil, nil, nil
  fields.scheduled_at, fields.deadline, fields.multitask_strategy = scheduled_at, deadline, policy.name
  fields.idempotency_until = nil
  fields.worker_ref = fields.worker_ref and ref_of(fields.worker_ref)
  fields.handler = fields.handler or handler_in(options.kwargs)
  err = add_key(self, fields, options)
  if err then return nil, err end
  return { run_id = run_id, thread_id = thread_id, fields = fields, policy = policy,
    key_until = options.idempotency_until,
    strategy_options = strategy_options, scheduled_at = scheduled_at }
end

-- The record of a run that was just stored.
local function adopt(self, request, written)
  local fields = request.fields
  local record = written
  if type(record) ~= "table" then -- a store that does not say what it wrote
    record = LiveRuns.complete(request.run_id, fields, self._client:now())
  end
  record.metadata = fields.metadata and copy(fields.metadata) or {} -- the caller may go on using his
  record.kwargs = fields.kwargs and copy(fields.kwargs) or {}
  record.worker_ref = fields.worker_ref and copy(fields.worker_ref)
  -- Nobody owns what may be claimed: it can be anybody's the next moment, so it is not live here.
  if fields.claimable then
    self._live:tell("on_claimable")
    return LiveRuns.equip(record, true)
  end
  self._live:add(LiveRuns.equip(record, false))
  return record
end

-- The run that an idempotency key was used for before, flagged on a copy that is the caller's own.
local function reused_by_key(self, row)
  local copy_of = {}
  for name, value in pairs(self._live:get(row.run_id) or LiveRuns.equip(row, true)) do copy_of[name] = value end
  copy_of.idempotency_reused = true
  return copy_of
end

--- Makes a pending run, without a conflict check and without a queue. With an idempotency_key that was used before,
--- gives the run of then, flagged `idempotency_reused`.
--- Raises for unknown options and wrong types. Fails with invalid_request, unsupported_strategy, idempotency_mismatch,
--- and what writing fails with; then the run is neither live nor stored.
---@param thread_id string
---@param options? keel.CreateOptions
---@return keel.Run? run
---@return keel.Error? err
function Manager:create(thread_id, options)
  check.type(thread_id, "string", 1, "create")
  local request, err = self:_prepare(thread_id, options, "create")
  if not request then return nil, err end
  if not request.fields.idempotency_key then
    local ok, written = self._client:call("put", request.run_id, request.fields)
    if not ok then return nil, written end
    return adopt(self, request, written)
  end
  local outcome
  outcome, err = self._client:transaction("create", function(tx)
    local known, failure = admission.find_by_key(tx, self._context, request)
    if failure then return nil, failure end
    if known then return { known = known } end
    local ok, written = tx:put(request.run_id, request.fields)
    if not ok then return nil, written end
    return { written = written }
  end)
  if not outcome then return nil, err end
  if outcome.known then return reused_by_key(self, outcome.known) end
  return adopt(self, request, outcome.written)
end

local function conflict(thread_id, outcome)
  local run_id = outcome.run and outcome.run.run_id
  local what = run_id and "is busy with run " .. run_id or "takes no run now"
  local why = outcome.reason and (": " .. outcome.reason) or ""
  if outcome.left then why = why .. ": " .. outcome.left end
  return errors.new("conflict", ("thread %s %s%s"):format(thread_id, what, why),
    { thread_id = thread_id, run_id = run_id, position = outcome.position, reason = outcome.reason })
end

-- The runs that admission interrupted, as far as they are live here.
local function abort_interrupted(self, outcome)
  for _, run_id in ipairs(outcome.interrupted) do
    local old = self._live:get(run_id)
    if old then
      local row = outcome.rows[run_id]
      if type(row) ~= "table" then row = { status = "interrupted", cancel_action = outcome.action } end
      self._live:update(old, row)
      self:_abort(old, old.cancel_action)
    end
  end
end

-- Brings the live records of runs up to date that a transaction recovered.
function Manager:_refresh_all(ids)
  for _, run_id in ipairs(ids) do
    local record = self._live:get(run_id)
    if record then self:_refresh(record) end
  end
end

-- Admits a newcomer to an idle thread in one call, if its strategy says what it decides there. False: the thread is
-- busy, or more has to be decided.
local function admit_idle(self, request)
  local idle = request.fields.idempotency_key == nil and request.strategy_options == nil and
    admission.idle_decision(request.policy)
  if not idle or not self._client:has "admit" then return false end
  local fields = request.fields
  fields.concurrency, fields.strict = idle.concurrency, idle.strict
  local note = { reason = idle.reason }
  admission.add_strategy(note, request, idle)
  local admitted, written = self._client:call("admit", request.run_id, fields, note)
  if admitted == false then fields.concurrency, fields.strict = nil, nil end
  return admitted, written
end

--- Makes a run if the strategy admits it: in one writing transaction the thread's runs in flight are read, the strategy
--- decides, and its decision is carried out. With an idempotency_key that was used before, gives the run of then,
--- flagged `idempotency_reused`, and "reused".
--- Raises for unknown options and wrong types. Fails with conflict (thread_id, run_id, position),
--- unsupported_strategy (known), idempotency_mismatch, policy_failed, policy_budget, invalid_request, and what writing
--- fails with; then nothing has changed. (On a conflict the runs of dead owners on the thread have been recovered all
--- the same.)
---@param thread_id string
---@param options? keel.CreateOptions
---@return keel.Run? run
---@return "created"|"reused"|keel.Error verdict
function Manager:create_or_reject(thread_id, options)
  check.type(thread_id, "string", 1, "create_or_reject")
  local request, err = self:_prepare(thread_id, options, "create_or_reject")
  if not request then return nil, err end
  local admitted, written = admit_idle(self, request)
  if admitted == nil then return nil, written end
  if admitted then return adopt(self, request, written), "created" end
  local outcome
  self._context.session_id = self._client:session_id()
  outcome, err = self._client:transaction("create_or_reject", admission.decide, self._context, request)
  if not outcome then return nil, err end
  self:_refresh_all(outcome.recovered)
  if outcome.verdict == "refused" then return nil, conflict(thread_id, outcome) end
  if outcome.by_key then return reused_by_key(self, outcome.run), "reused" end
  if outcome.verdict == "reused" then
    return self._live:get(outcome.run.run_id) or LiveRuns.equip(outcome.run, true), "reused"
  end
  local record = adopt(self, request, outcome.written)
  abort_interrupted(self, outcome)
  return record, "created"
end

-- --- Leaving --------------------------------------------------------------------------------------------------------

--- Deletes a run, its row and its live record; its events stay. A live run in flight is aborted. False when there was
--- none.
---@param run_id string
---@return boolean? deleted
---@return keel.Error? err
function Manager:delete(run_id)
  check.type(run_id, "string", 1, "delete")
  local deleted, err = self._client:call("delete", run_id)
  if deleted == nil then return nil, err end
  local record = self._live:drop(run_id)
  if record and not LiveRuns.is_final(record.status) then self:_abort(record) end
  return deleted or record ~= nil
end

-- Gives up a run, if it is this process's still: one in flight becomes nobody's, one that is finalizing is settled.
local function give_up(tx, record)
  local run_id = record.run_id
  local row, err = tx:get(run_id)
  if not row then
    if err then return nil, err end
    return true
  end
  if row.fence ~= record.fence then return true end
  local ok
  if LiveRuns.is_final(row.status) then
    ok, err = tx:settle(run_id, { fence = row.fence })
  else
    ok, err = tx:put(run_id, { session_id = null, fence = row.fence + 1 })
  end
  if ok == nil then return nil, err end
  return true
end

--- Drops the live record of a run. One in flight is given up: an orphan at once. Without a store of its own the manager
--- forgets the run altogether.
--- Raises for wrong types. Fails with invalid_request (delay) and what writing fails with; then the record stays.
---@param run_id string
---@param options? { delay?: number } seconds to wait first, through the store's sleep; default 0
---@return boolean? done false when it was not live
---@return keel.Error? err
function Manager:cleanup(run_id, options)
  check.type(run_id, "string", 1, "cleanup")
  options = check.options(options, { delay = "number" }, 2, "cleanup")
  if options.delay then
    if not (options.delay >= 0 and options.delay < math.huge) then
      return nil, errors.new("invalid_request", "delay must be a number of seconds, at least 0", { field = "delay" })
    end
    self._client:sleep(options.delay)
  end
  local record = self._live:get(run_id)
  if not record then return false end
  local ok, err = true, nil
  if self._private then
    ok, err = self._client:call("delete", run_id)
  elseif record.finalizing or not LiveRuns.is_final(record.status) then
    ok, err = self._client:transaction("cleanup", give_up, record)
  end
  if ok == nil then return nil, err end
  self._live:drop(run_id)
  return true
end

-- The error about a reconciler that is not known.
function Manager:_check_reconciler(wanted)
  if not wanted then return nil end
  local found, known = policies.find("reconcilers", wanted, self._reconcilers)
  if found then return nil end
  return errors.new("invalid_request",
    ("unknown reconciler %s; known are: %s"):format(wanted, table.concat(known, ", ")), { field = "reconciler" })
end

-- Picks up edits of loaded policies, those of the manager and `wanted`: files are read before a transaction, never in
-- one.
function Manager:_refresh_policies(wanted)
  local log = self._context.log
  policies.refresh(wanted, self._strategies, log)
  policies.refresh(self._fallback, self._reconcilers, log)
  policies.refresh(self._reconciler, nil, log)
end

-- Why a run in flight may be recovered, as recovery.cause_of has it.
function Manager:_cause_of(row)
  local client = self._client
  return recovery.cause_of(self._context, row, function(id) return client:is_alive(id) end,
    client:has "lease_left" and function(id) return client:call("lease_left", id) end or nil)
end

-- The store's own reconciler.
function Manager:_stored_reconciler()
  if self._client:has "reconciler" then return self._client:call "reconciler" end
end

-- What a sweep needs.
function Manager:_sweep_context(options)
  self:_refresh_policies(options.reconciler)
  local client, context = self._client, context_of(self)
  context.session_id = client:session_id()
  context.error, context.before, context.reconciler = options.error, options.before, options.reconciler
  context.over_unknown = options.over_unknown
  context.stored_reconciler = function() return self:_stored_reconciler() end
  context.lease_left = client:has "lease_left" and function(id) return client:call("lease_left", id) end or nil
  context.list = function(query)
    query.brief = documents.are_apart(client.store) or nil
    return documents.put_off(client.store, client:call("list_inflight", query))
  end
  context.claim = function(run_id, outcome) return client:call("claim_for_takeover", run_id, outcome) end
  context.next_owner = client:has "next_owner" and function(after) return client:call("next_owner", after) end or nil
  -- Sessions are asked about once a sweep. One that lives now may die meanwhile: the next sweep sees it.
  local alive = {}
  context.is_alive = function(session_id)
    if alive[session_id] == nil then alive[session_id] = client:is_alive(session_id) end
    return alive[session_id]
  end
  self._context.session_id = context.session_id
  context.clear_way = function(run, recovered) return self:_clear_way(run, context, recovered) end
  return context
end

-- The records of runs that were recovered. Returns the first failure as well.
function Manager:_records_of(ids)
  local records, failure = {}, nil
  for _, run_id in ipairs(ids) do
    local record, err = self:get(run_id)
    if record and not record.store_only then self:_refresh(record) end
    records[#records + 1] = record
    failure = failure or err
  end
  return records, failure
end

--- Recovers the runs in flight whose owners are gone, or whose lease or deadline has passed, each in a transaction of
--- its own. Other runs of sessions that are there, in this process or another, are not touched, nor are claimable ones.
--- Raises for wrong types. Fails with invalid_request for a time that is none and an unknown reconciler. When something
--- else fails, the runs it was about stay as they are, and the error is the second value.
---@param options? { error?: string, before?: string|number, reconciler?: string|function }
--- error: the text the runs get; before: a time, only runs created then or earlier; reconciler: decides over runs that
--- do not name their own, and over those that name one that is not known here
---@return keel.Run[]? recovered
---@return keel.Error? err
function Manager:reconcile_orphaned_inflight_runs(options)
  options = check.options(options, { error = "string", before = "time", reconciler = "string|function|policy" }, 1,
    "reconcile_orphaned_inflight_runs")
  local ids, before
  local err = self:_check_reconciler(options.reconciler)
  if not err and options.before then before, err = errors.time(options.before, "before", self._client:now()) end
  if err then return nil, err end
  -- Who calls this with a reconciler decides over what no other would, too.
  ids, err = recovery.sweep(self:_sweep_context { error = options.error, before = before,
    reconciler = options.reconciler, over_unknown = options.reconciler ~= nil })
  local records, failure = self:_records_of(ids)
  return records, err or failure
end

return check.methods(Manager, "_client")
