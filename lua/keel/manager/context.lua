--- What a manager is to those who decide: its policies, its times, and who it is. Admission and recovery are given it;
--- the parts of the manager ask it.
local check = require "keel.check"
local documents = require "keel.store.documents"
local errors = require "keel.errors"
local kernel = require "keel.kernel"
local policies = require "keel.policy"
local recovery = require "keel.recovery"

---@class keel.ManagerContext
---@field strategies? table<string, keel.AnyStrategy> the manager's own, by name
---@field reconcilers? table<string, keel.AnyReconciler> the manager's own, by name
---@field retention? { before: number?, keep_last: integer? }
---@field schedules? table<string, keel.AnySchedulePolicy> the manager's own, by name
---@field strategy string|keel.AnyStrategy of runs that name none
---@field strategy_options? table for those that name neither
---@field fallback? string|keel.AnyStrategy decides when the strategy that was asked for fails
---@field default_reconciler? string|keel.AnyReconciler
---@field budget keel.PolicyBudget
---@field record_refusals? boolean
---@field lease? number seconds that a lease runs, with its grace; nil: runs have none
---@field lease_grace number seconds that a lease runs longer than it was asked for
---@field diagnostics? table<string, keel.DiagnosticRule>
---@field diagnostics_budget? keel.PolicyBudget
---@field settle_timeout number seconds that a stopped run may take to come to rest
---@field left table<string, string> why runs of the last admission were not recovered
---@field session_id fun(): integer? this session; nil: the store has none, or cannot say
---@field now fun(): string
---@field log fun(level: string, message: string, fields: table)
---@field package _client keel.StoreClient
local Context = {}
Context.__index = Context

local LAST = 253402300799.0 -- the end of the year 9999: the last time there is a text for

---@param client keel.StoreClient
---@param given table the fields of a context that a manager was given
---@return keel.ManagerContext
function Context.new(client, given)
  given._client, given.left = client, {}
  given.session_id = function() return (client:session_id()) end
  given.now = function() return client:now() end
  given.log = function(...) return client:log(...) end
  return setmetatable(given, Context)
end

--- The time in so many seconds.
---@param seconds number
---@return string
function Context:later(seconds)
  return kernel.time_text(math.min(kernel.time_seconds(self._client:now()) + seconds, LAST))
end

--- When the lease of a run ends that is made or renewed now; nil without leases.
---@return string?
function Context:lease_end()
  return self.lease and self:later(self.lease)
end

--- The error about a reconciler that is not known.
---@param wanted? string|keel.AnyReconciler
---@return keel.Error?
function Context:check_reconciler(wanted)
  if not wanted then return nil end
  local found, known = policies.find("reconcilers", wanted, self.reconcilers)
  if found then return nil end
  return errors.new("invalid_request", ("unknown reconciler %s; known are: %s%s"):format(wanted,
    table.concat(known, ", "), check.did_you_mean(wanted, known)), { field = "reconciler" })
end

--- Picks up edits of loaded policies, those of the manager and `wanted`: files are read before a transaction, never in
--- one.
---@param wanted? any a policy
function Context:refresh_policies(wanted)
  local log = self.log
  if type(wanted) ~= "string" then policies.refresh(wanted, log) end
  if self.fallback then policies.refresh(self.fallback, log) end
  if self.default_reconciler then policies.refresh(self.default_reconciler, log) end
  policies.refresh_all(self.strategies, log)
  policies.refresh_all(self.reconcilers, log)
end

-- How to ask for seconds that a lease has still to go; nil: the store goes by its clock.
local function lease_left_of(client)
  return client:has "lease_left" and function(run_id) return client:call("lease_left", run_id) end or nil
end

--- Why a run in flight may be recovered, as recovery.cause_of has it.
---@param row table
---@return "deadline"|"lease"|"owner"|nil cause
function Context:cause_of(row)
  local client = self._client
  return recovery.cause_of(self, row, function(id) return client:is_alive(id) end, lease_left_of(client))
end

--- The store's own reconciler.
---@return string? name
---@return keel.Error? err
function Context:stored_reconciler()
  if self._client:has "reconciler" then return self._client:call "reconciler" end
end

--- What a sweep needs: the same, and how to find, judge and take orphans.
---@param options { reconciler?: string|keel.AnyReconciler, error?: string, before?: string, over_unknown?: boolean }
---@param clear_way fun(run: table, context: keel.ManagerContext, recovered: string[]): keel.Error?
---@return table
function Context:for_sweep(options, clear_way)
  self:refresh_policies(options.reconciler)
  local client, context = self._client, {}
  for name, value in pairs(self) do context[name] = value end
  context.left = {}
  context.error, context.before, context.reconciler = options.error, options.before, options.reconciler
  context.over_unknown = options.over_unknown
  context.stored_reconciler = function() return self:stored_reconciler() end
  context.lease_left = lease_left_of(client)
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
  context.clear_way = function(run, recovered) return clear_way(run, context, recovered) end
  return setmetatable(context, Context)
end

return Context
