--- Making runs: with the strategy's consent, or without asking.
local LiveRuns = require "keel.manager.live_runs"
local admission = require "keel.admission"
local adopting = require "keel.manager.adopting"
local check = require "keel.check"
local errors = require "keel.errors"
local find_by_key = require "keel.admission.find_by_key"
local request_of = require "keel.manager.request"

---@class keel.manager.Creating: keel.ManagerCore
local Creating = {}

-- The run that an idempotency key was used for before, flagged on a copy that is the caller's own.
local function reused_by_key(self, row)
  local copy_of = {}
  for name, value in pairs(self.live:get(row.run_id) or LiveRuns.equip(row, true)) do copy_of[name] = value end
  copy_of.idempotency_reused = true
  return copy_of
end

-- What is looked at and changed for a newcomer: a thread, or, by what it shares with runs of others, anything.
local function scope_of(request)
  local fields = request.fields
  if admission.reaches_far(request) then return nil end
  if fields.slots or fields.rates or fields.after or fields.parent_run_id then return nil end
  if fields.claimable and fields.handler then return nil end
  return { thread_id = request.thread_id, idempotency_key = fields.idempotency_key, user_id = fields.user_id }
end

--- Makes a pending run, without a conflict check and without a queue. With an idempotency_key that was used before,
--- gives the run of then, flagged `idempotency_reused`.
--- Raises for unknown options and wrong types. Fails with invalid_request, unsupported_strategy, idempotency_mismatch,
--- and what writing fails with; then the run is neither live nor stored.
---@param thread_id string
---@param options? keel.CreateOptions
---@return keel.Run? run
---@return keel.Error? err
function Creating:create(thread_id, options)
  check.type(thread_id, "string", 1, "create")
  local request, err = request_of.new(self, thread_id, options, "create")
  if not request then return nil, err end
  if not request.fields.idempotency_key then
    local ok, written = self.client:call("put", request.run_id, request.fields)
    if not ok then return nil, written end
    return adopting.adopt(self, request, written)
  end
  local outcome
  outcome, err = self.client:transaction_on(scope_of(request), "create", function(tx)
    local known, failure = find_by_key(tx, self.context, request)
    if failure then return nil, failure end
    if known then return { known = known } end
    local ok, written = tx:put(request.run_id, request.fields)
    if not ok then return nil, written end
    return { written = written }
  end)
  if not outcome then return nil, err end
  if outcome.known then return reused_by_key(self, outcome.known) end
  return adopting.adopt(self, request, outcome.written)
end

local function conflict(thread_id, outcome)
  local run_id = outcome.run and outcome.run.run_id
  local what = run_id and "is busy with run " .. run_id or "takes no run now"
  local why = outcome.reason and (": " .. outcome.reason) or ""
  if outcome.left then why = why .. ": " .. outcome.left end
  return errors.new("conflict", ("thread %s %s%s"):format(thread_id, what, why),
    { thread_id = thread_id, run_id = run_id, position = outcome.position, reason = outcome.reason })
end

-- Admits a newcomer to an idle thread in one call, if its strategy says what it decides there. False: the thread is
-- busy, or more has to be decided.
local function admit_idle(self, request)
  local idle = request.fields.idempotency_key == nil and request.strategy_options == nil and
    admission.idle_decision(request.policy)
  if not idle or not self.client:has "admit" then return false end
  local fields, decision = request.fields, idle.decision
  fields.concurrency, fields.strict = decision.concurrency, decision.strict
  local admitted, written = self.client:call("admit", request.run_id, fields, idle.note)
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
function Creating:create_or_reject(thread_id, options)
  check.type(thread_id, "string", 1, "create_or_reject")
  local request, err = request_of.new(self, thread_id, options, "create_or_reject")
  if not request then return nil, err end
  local admitted, written = admit_idle(self, request)
  if admitted == nil then return nil, written end
  if admitted then return adopting.adopt(self, request, written), "created" end
  admission.prepare(self.context, request)
  local outcome
  outcome, err = self.client:transaction_on(scope_of(request), "create_or_reject", admission.decide, self.context,
    request)
  if not outcome then return nil, err end
  self.writer:refresh_all(outcome.recovered)
  if outcome.verdict == "refused" then return nil, conflict(thread_id, outcome) end
  if outcome.by_key then return reused_by_key(self, outcome.run), "reused" end
  if outcome.verdict == "reused" then
    return self.live:get(outcome.run.run_id) or LiveRuns.equip(outcome.run, true), "reused"
  end
  local record = adopting.adopt(self, request, outcome.written)
  adopting.abort_interrupted(self, outcome)
  return record, "created"
end

return Creating
