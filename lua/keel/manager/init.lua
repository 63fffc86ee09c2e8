--- The run manager: applies what policies decide, and keeps the live records.
---
--- Data flows one way: caller → manager → strategy decides → kernel writes row and event in one transaction. The public
--- methods are in the parts of this folder. They share what a core has, and call each other's public methods only; to
--- live records they write through the core's writer.
local Client = require "keel.store.client"
local Context = require "keel.manager.context"
local LiveRuns = require "keel.manager.live_runs"
local Reservations = require "keel.manager.reservations"
local Retry = require "keel.retry"
local Writer = require "keel.manager.writer"
local check = require "keel.check"
local policies = require "keel.policy"
local request = require "keel.manager.request"
local retention = require "keel.manager.retention"

---@class keel.ManagerCore what the parts of a manager share
---@field client keel.StoreClient
---@field live keel.LiveRuns
---@field writer keel.RunWriter
---@field context keel.ManagerContext
---@field reservations keel.Reservations
---@field private? boolean the store is in memory, and nobody else's: forgetting a run deletes it
---@field observer? keel.Observer the executor's
---@field left_behind keel.Observer[] those that were detached while handlers of theirs went on
---@field schedule_files table<string, keel.LoadedPolicy> schedule policies, by path
---@field schedules_told table<string, string> what was said of a schedule last, by its name
---@field ticked? string when the last tick began
---@field behind? boolean it has left something that is due to the next
---@field undone? boolean it could not do something
---@field pruning? table how far keeping the store in bounds has come
---@field own_leases? boolean runs were claimed with leases of their own
---@field swept? table where the next tick's recovery goes on

---@class keel.RunManager: keel.manager.Creating, keel.manager.Starting, keel.manager.Status, keel.manager.Cancelling,
---keel.manager.Reading, keel.manager.Retrying, keel.manager.Explaining, keel.manager.Owning, keel.manager.Waiting,
---keel.manager.Recovering, keel.manager.Reserving, keel.manager.Removing, keel.manager.Scheduling,
---keel.manager.Limiting, keel.manager.Measuring, keel.manager.Diagnosing,
---keel.manager.Shutdown
---@field private _core keel.ManagerCore
local Manager = {}
Manager.__index = Manager
Manager.__name = "keel.run_manager"

local manager_options = {
  store = "userdata|table|string",
  retry = "retry policy", max_wait = "number",
  strategies = "table",
  strategy = "string|function|table|policy",
  strategy_options = "table",
  fallback_strategy = "string|function|table|policy",
  reconciler = "string|function|policy",
  reconcilers = "table",
  retention = "table",
  schedules = "table",
  diagnostics = "table",
  policy_budget = "table",
  lease_ttl = "number",
  lease_grace = "number",
  settle_timeout = "number",
  record_refusals = "boolean",
  log = "callable",
}

local SETTLE_TIMEOUT = 30   -- seconds that a stopped run may take to come to rest

-- --- Making one -----------------------------------------------------------------------------------------------------

-- Policies by name. Of a reconciler that others know, the name is enough: `named` is true.
local function check_functions(map, name, is_fit, named)
  for key, value in pairs(map or {}) do
    local fits, problem = is_fit(value)
    if type(key) ~= "string" or not (fits or value == named) then
      error(("bad argument #1 to 'run_manager' (option '%s' must map names to functions and loaded policies; " ..
        "'%s' %s)"):format(name, tostring(key), problem or "is a " .. type(value)), 3)
    end
  end
end

-- A strategy of the manager's that is no name.
local function check_strategy(given, name)
  if given == nil or type(given) == "string" then return end
  local is_strategy, problem = policies.is_strategy(given)
  if not is_strategy then
    error(("bad argument #1 to 'run_manager' (option '%s' %s)"):format(name, problem or "is no strategy"), 3)
  end
end

-- The error about the times that a manager is given.
local function check_times(options)
  return check.duration(options.lease_ttl, "lease_ttl", true) or check.duration(options.lease_grace, "lease_grace")
    or check.duration(options.settle_timeout, "settle_timeout")
end

--- Makes a manager. Several managers may share a store, in this process and in others.
--- Raises without a store, for unknown options and wrong types. Fails with invalid_request (policy_budget, lease_ttl,
--- lease_grace, settle_timeout, reconciler), unsupported_strategy (strategy, fallback_strategy), and with what
--- opening a store fails with.
---@param options { store: keel.Store|string, retry?: keel.RetryPolicy, max_wait?: number,
--- strategies?: table<string, keel.AnyStrategy>,
--- strategy?: string|keel.AnyStrategy, strategy_options?: table, fallback_strategy?: string|keel.AnyStrategy,
--- reconciler?: string|keel.AnyReconciler, reconcilers?: table<string, keel.AnyReconciler|true>,
--- retention?: { before?: number, keep_last?: integer }, schedules?: table<string, keel.AnySchedulePolicy>,
--- diagnostics?: table<string, keel.DiagnosticRule>,
--- policy_budget?: { instructions?: integer, seconds?: number, bytes?: number },
--- lease_ttl?: number, lease_grace?: number, settle_timeout?: number, record_refusals?: boolean,
--- log?: fun(level: string, message: string, fields: table) } store: an open one, or the uri of one that is opened
--- here; with ":memory:" nothing outlives the manager; retry: how transient errors are tried again; max_wait: seconds
--- that a call may wait in all, over its tries and for other writers (default 5); strategies: those of this manager, by
--- name, where the name of a built-in one replaces it; strategy: of runs that name none (default "reject"), with
--- strategy_options for those that give none; fallback_strategy: decides when the strategy that was asked for fails;
--- reconciler: decides over orphans for which neither the run, the call nor the store names one (default
--- recover_orphans); reconcilers: true in place of one says that others know it: runs may name it, and those of dead
--- owners are left to them; retention: what has ended, and events, older than so many seconds, but for the newest of
--- each thread, go with the ticks; schedules: policies that say when schedules happen, by name;
--- diagnostics: rules that the method of this name asks, by name; lease_ttl: seconds
--- after which a run that no heartbeat has renewed is lost (default: never), and lease_grace: seconds more (default 0);
--- settle_timeout: seconds that a stopped run may take to come to rest before what waits for it goes on (default 30);
--- record_refusals: refused and reused admissions leave events; policy_budget: what one call of a strategy or
--- reconciler may use (default 1000000 instructions, 0.05 seconds, and of a script 16777216 bytes); log: is told what
--- the manager has to tell (default: the store's)
---@return keel.RunManager? manager
---@return keel.Error? err
function Manager.new(options)
  options = check.options(options, manager_options, 1, "run_manager")
  local unfit = check.duration(options.max_wait, "max_wait")
  if unfit then return nil, unfit end
  check_strategy(options.strategy, "strategy")
  check_strategy(options.fallback_strategy, "fallback_strategy")
  check_functions(options.strategies, "strategies", policies.is_strategy)
  check_functions(options.reconcilers, "reconcilers", policies.is_policy, true)
  check_functions(options.schedules, "schedules", policies.is_policy)
  check_functions(options.diagnostics, "diagnostics", policies.is_policy)
  local budget, store, err
  budget, err = policies.budget(options.policy_budget, policies.default_budget, 1, "run_manager")
  err = err or check_times(options) or retention.check(options.retention, "run_manager")
  if err then return nil, err end
  local fallback, known
  if options.fallback_strategy then
    fallback, known = policies.find("strategies", options.fallback_strategy, options.strategies)
    if not fallback then return nil, request.unsupported(options.fallback_strategy, known) end
  end
  local strategy = options.strategy or "reject"
  local default
  default, known = policies.find("strategies", strategy, options.strategies)
  if not default then return nil, request.unsupported(strategy, known) end
  local misuse
  misuse, err = policies.check_options(default, options.strategy_options)
  if misuse then error(("bad argument #1 to 'run_manager' (%s)"):format(misuse), 2) end
  if err then return nil, err end
  store, err = Client.open(options.store, "run_manager", options.log)
  if not store then return nil, err end
  local client = Client.new(store, options.retry or Retry.new(), options.log, options.max_wait)
  local context = Context.new(client, {
    strategies = options.strategies,
    reconcilers = options.reconcilers,
    retention = options.retention,
    schedules = options.schedules,
    diagnostics = options.diagnostics,
    diagnostics_budget = options.policy_budget and budget,
    strategy = strategy,
    strategy_options = options.strategy_options,
    fallback = options.fallback_strategy,
    default_reconciler = options.reconciler,
    budget = budget,
    record_refusals = options.record_refusals,
    lease = options.lease_ttl and options.lease_ttl + (options.lease_grace or 0),
    lease_grace = options.lease_grace or 0,
    settle_timeout = options.settle_timeout or SETTLE_TIMEOUT,
  })
  err = context:check_reconciler(options.reconciler)
  if err then return nil, err end
  local live = LiveRuns.new(context.log)
  local writer = Writer.new(client, live)
  client.on_changed = function(ids) writer:refresh_all(ids) end
  return setmetatable({ _core = {
    client = client,
    live = live,
    writer = writer,
    context = context,
    reservations = Reservations.new(client),
    private = options.store == ":memory:",
    left_behind = {},
    schedule_files = {},
    schedules_told = {},
  } }, Manager)
end

for _, part in ipairs {
  require "keel.manager.creating", require "keel.manager.starting",
  require "keel.manager.status", require "keel.manager.cancel",
  require "keel.manager.retrying", require "keel.manager.reading", require "keel.manager.explaining",
  require "keel.manager.owning", require "keel.manager.waiting",
  require "keel.manager.recovering", require "keel.manager.reserving",
  require "keel.manager.removing", require "keel.manager.scheduling", require "keel.manager.limiting",
  require "keel.manager.measuring", require "keel.manager.diagnosing",
  (require "keel.manager.shutdown"), -- its first value only
} do
  check.delegate(Manager, "_core", part)
end

return Manager
