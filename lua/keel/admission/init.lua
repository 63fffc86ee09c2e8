--- Admission: may this run start now? Read, decided and written in one transaction.
local answers = require "keel.policy.questions"
local carrying = require "keel.admission.carrying"
local decisions = require "keel.policy.decision"
local documents = require "keel.store.documents"
local find_by_key = require "keel.admission.find_by_key"
local in_flight = require "keel.admission.inflight"
local policies = require "keel.policy"
local request_for = require "keel.admission.request"
local wants = require "keel.admission.wants"

local admission = {}

-- Writes a refusal down, when the manager wants that, or a schedule: nobody else is there to be told.
local function record(context, tx, request, kind, run_id, decision)
  if not context.record_refusals and not request.occasion then return true end
  local data = { reason = decision.reason, position = decision.position }
  carrying.add_occasion(data, request)
  carrying.add_strategy(data, request, decision)
  return tx:append_admission { kind = kind, thread_id = request.thread_id, run_id = run_id, data = data }
end

local function refuse(context, tx, request, decision, run)
  local ok, err = record(context, tx, request, "run_rejected", run and run.run_id, decision)
  if not ok then return nil, err end
  return { verdict = "refused", reason = decision.reason, position = decision.position, run = run,
    decision = decision }
end

local function reuse(context, tx, request, decision, run)
  local ok, err = record(context, tx, request, "run_reused", run.run_id, decision)
  if not ok then return nil, err end
  return { verdict = "reused", run = run, reason = decision.reason, decision = decision }
end

-- Policy -> what it decides on an idle thread, and the event of a newcomer that it admits there; false: it has to be
-- asked.
local idle_decisions = setmetatable({}, { __mode = "k" })

-- What a newcomer to an idle thread gets by it is all that one call can write.
local function is_simple(decision)
  return decision.admit and not decision.delay and not decision.within and not decision.slots and not decision.rates
end

local function decide_idle(policy)
  local decision = decisions.check(policy.idle, {}, {})
  if not decision or not is_simple(decision) then return false end
  local note = { reason = decision.reason }
  carrying.add_strategy(note, { policy = policy }, decision)
  return { decision = decision, note = note }
end

--- What a policy says it decides on an idle thread, if that is simple enough to be done in one call.
---@param policy keel.Policy
---@return { decision: table, note: table }? idle note: what the event of the newcomer says; both are shared
function admission.idle_decision(policy)
  if not policy.idle then return nil end
  local known = idle_decisions[policy]
  if known == nil then
    known = decide_idle(policy)
    idle_decisions[policy] = known
  end
  return known or nil
end

-- Asks a strategy what it wants to read, if it reads.
local function ask_for(context, request, policy)
  if not policy or not policy.reads then return end
  local questions, err = policies.questions(policy, context.budget, request_for.describe(context, policy, request))
  request.asked = request.asked or {}
  request.asked[policy] = { questions = questions, err = err }
end

--- Before the transaction: has the strategy of a newcomer say what it wants to read, and finds the fallback. What that
--- fails with is what the decision fails with.
---@param context table
---@param request table
function admission.prepare(context, request)
  request.fallback = context.fallback and policies.find("strategies", context.fallback, context.strategies)
  ask_for(context, request, request.policy)
  ask_for(context, request, request.fallback)
end

-- A function of the host could change what is told of it.
local function copied(read)
  local copy = {}
  for name, count in next, read do copy[name] = count end
  return copy
end

-- What a strategy reads, counted in the transaction; nil, without an error: it reads nothing.
local function read_for(tx, request, policy)
  if not policy.reads then return nil end
  local asked = request.asked[policy]
  if asked.err then return nil, asked.err end
  return answers.answer(tx, asked.questions)
end

-- The policies whose decisions have given slots or rates: what is shared by other threads.
local reaching = setmetatable({}, { __mode = "k" })

--- Whether the transaction of a newcomer is about more than its thread, by its strategy.
---@param request table
---@return boolean
function admission.reaches_far(request)
  return request.asked ~= nil or reaching[request.policy] == true
end

-- Checks what a strategy said, and adds the slots and rates that the caller asked for.
local function checked(policy, given, request, shown, finalizing)
  local decision, problem = decisions.check(given, shown, finalizing)
  if not decision then return nil, policies.failed(policy, problem) end
  local err = wants.add(decision, request)
  if err then return nil, err end
  if decision.slots or decision.rates then reaching[request.policy] = true end
  return decision
end

-- Asks a strategy, unless it has said what it decides on an idle thread, and this is one. Returns a decision whose runs
-- are ids.
local function ask(context, tx, policy, request, inflight, shown)
  local idle = policies.idle_of(policy, inflight.count, inflight.finalizing)
  if idle then return checked(policy, idle, request, shown, inflight.finalizing) end
  local read, given, err
  read, err = read_for(tx, request, policy)
  if err then return nil, err end
  local description = request_for.describe(context, policy, request, inflight)
  request_for.show_times(policy, inflight.runs, description.now)
  if read then
    given, err = policies.call(policy, context.budget, description, inflight.runs, copied(read))
  else
    given, err = policies.call(policy, context.budget, description, inflight.runs)
  end
  if err then return nil, err end
  local decision
  decision, err = checked(policy, given, request, shown, inflight.finalizing)
  if decision then decision.read = read end
  return decision, err
end

-- Asks the fallback in place of a strategy that failed. What that one was shown it may have changed: it is read again.
local function ask_fallback(context, tx, request, inflight, shown, failure)
  local policy = request.fallback
  local rows, err = documents.list_inflight(tx, { thread_id = request.thread_id, limit = in_flight.SHOWN })
  if not rows then return nil, err end
  inflight.runs = in_flight.split(rows)
  local fields = { strategy = request.policy.name, fallback = policy.name, thread_id = request.thread_id,
    line = failure.line, error = failure.message }
  context.log("warn", ("strategy %s failed; %s decides instead"):format(request.policy.name, policy.name), fields)
  local decision
  decision, err = ask(context, tx, policy, request, inflight, shown)
  if decision then
    decision.fallback, decision.failure = policy, failure
    return decision
  end
  fields.error = err.message
  context.log("error", ("the fallback strategy %s failed as well"):format(policy.name), fields)
  return nil, failure
end

local policy_errors = { policy_failed = true, policy_budget = true }

-- Asks the strategy, and if that fails the fallback, if there is one.
local function decide(context, tx, request, inflight, shown)
  local decision, err = ask(context, tx, request.policy, request, inflight, shown)
  if decision or not request.fallback or not policy_errors[err.code] then return decision, err end
  return ask_fallback(context, tx, request, inflight, shown, err)
end

local function carry_out(context, tx, request, inflight)
  local reserved = inflight.reservation
  if reserved then
    return refuse(context, tx, request, { reason = "the thread is reserved for a " .. reserved.operation_kind },
      reserved)
  end
  local shown = in_flight.outline(inflight.runs)
  shown.is_cut = inflight.is_cut
  local decision, err = decide(context, tx, request, inflight, shown)
  if not decision then return nil, err end
  if decision.admit then return carrying.admit(context, tx, request, decision, inflight, shown) end
  if not decision.reuse then return refuse(context, tx, request, decision, shown[1]) end
  local run
  run, err = tx:get(decision.reuse)
  if not run then return nil, err end
  return reuse(context, tx, request, decision, run)
end

--- Decides on a newcomer inside an open transaction and writes what was decided; the caller commits. Strategies of
--- callers want admission.prepare before it.
---@param tx keel.Transaction
---@param context table what the manager is
---@param request { run_id: string, thread_id: string, fields: table, policy: keel.Policy, strategy_options: table?,
--- scheduled_at: string?, occasion: table?, complete: (fun(fields: table): true?, keel.Error?)? } scheduled_at: what
--- the caller asked for; a decision may make it later; occasion: what made it, for its event; complete: called when it
--- is admitted, before it is written
---@return { verdict: "created"|"reused"|"refused", written: table?, interrupted: string[]?, recovered: string[],
--- rows: table<string, table>?, action: string?, run: table?, reason: string?, position: integer?,
--- by_key: boolean? }? outcome
---@return keel.Error? err
function admission.decide(tx, context, request)
  context.left = {}
  local known, err = find_by_key(tx, context, request)
  if err then return nil, err end
  if known then
    local outcome
    outcome, err = reuse(context, tx, request, { reason = "the idempotency key was used for it" }, known)
    if not outcome then return nil, err end
    outcome.by_key, outcome.recovered = true, {}
    return outcome
  end
  local inflight, outcome
  inflight, err = in_flight.read(context, tx, request.thread_id)
  if not inflight then return nil, err end
  outcome, err = carry_out(context, tx, request, inflight)
  if not outcome then return nil, err end
  outcome.recovered = inflight.recovered
  outcome.left = outcome.run and context.left and context.left[outcome.run.run_id] or nil
  return outcome
end

return admission
