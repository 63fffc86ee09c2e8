--- Admission: may this run start now? Read, decided and written in one transaction.
local decisions = require "keel.policy.decision"
local documents = require "keel.store.documents"
local errors = require "keel.errors"
local kernel = require "keel.kernel"
local policies = require "keel.policy"
local recovery = require "keel.recovery"

local admission = {}

--- Runs in flight that a strategy is shown, oldest first; it also gets the exact count.
admission.SHOWN = 256
local SHOWN = admission.SHOWN
local NAMED = 16  -- runs ahead that an event names; a long queue should not fill the log

-- --- Reading --------------------------------------------------------------------------------------------------------

-- Recovers what a dead session left among the rows. Returns whether anything was, and the error.
local function recover(context, tx, rows, recovered)
  local some = false
  for _, row in ipairs(rows) do
    local taken, err = false, nil
    -- Once each: one that was given back may be an orphan again at once.
    if not recovered[row.run_id] then taken, err = recovery.take(tx, context, row) end
    if taken == nil then return nil, err end
    if taken then
      some = true
      recovered[row.run_id] = true
      recovered[#recovered + 1] = row.run_id
    end
  end
  return some
end

-- Takes reservations out of a list of rows; the first comes back.
local function split(rows)
  local runs, reservation = {}, nil
  for _, row in ipairs(rows) do
    if recovery.is_reservation(row) then
      reservation = reservation or row
    else
      runs[#runs + 1] = row
    end
  end
  return runs, reservation
end

--- The runs in flight on a thread, after what a dead session left there has been recovered.
---@return { runs: table[], reservation: table?, count: integer, finalizing: string[], recovered: string[] }? inflight
--- finalizing: runs that have ended and are not settled
---@return keel.Error? err
function admission.read_inflight(context, tx, thread_id)
  local recovered = {}
  local rows, is_cut, err
  repeat
    rows, is_cut = documents.list_inflight(tx, { thread_id = thread_id, limit = SHOWN })
    if not rows then return nil, is_cut end
    local some
    some, err = recover(context, tx, rows, recovered)
    if some == nil then return nil, err end
  until not some -- what was given back is in flight still, and more may have come into sight
  local finalizing
  finalizing, err = tx:list_inflight { thread_id = thread_id, finalizing = true, limit = SHOWN, brief = true }
  if not finalizing then return nil, err end
  for i, row in ipairs(finalizing) do finalizing[i] = row.run_id end
  local count = #rows
  if count == SHOWN or is_cut then
    count, err = tx:count_inflight(thread_id)
    if not count then return nil, err end
  end
  local runs, reservation = split(rows)
  return { runs = runs, is_cut = is_cut, reservation = reservation, count = count - (#rows - #runs),
    finalizing = finalizing, recovered = recovered }
end

-- A copy of a document, for a function of the host, which could change what is stored.
local function copied(document, made)
  if type(document) ~= "table" then return document end
  made = made or {} -- whether the document is a tree is found out when it is written
  local copy = made[document]
  if copy then return copy end
  copy = {}
  made[document] = copy
  for key, value in next, document do copy[key] = copied(value, made) end
  return setmetatable(copy, getmetatable(document))
end

local function as_it_is(document) return document end

-- What a caller may ask for, beside what is shown under another name or as a copy.
local asked_for = { "assistant_id", "handler", "user_id", "model_name", "on_disconnect", "fingerprint", "batch_id",
  "plan_entry", "max_attempts", "max_losses", "scheduled_at", "deadline", "claimable", "reconciler", "idempotency_key" }

-- What a strategy is told of the newcomer. Built-in ones change nothing, and files are shown copies by the sandbox.
local function describe(context, policy, request, inflight)
  local shown, fields = policy.of_host and copied or as_it_is, request.fields
  local description = {
    thread_id = request.thread_id,
    metadata = shown(fields.metadata or {}),
    kwargs = shown(fields.kwargs or {}),
    worker_ref = shown(fields.worker_ref),
    priority = fields.priority or 0,
    multitask_strategy = policy.name,
    options = shown(request.strategy_options or {}),
    inflight_count = inflight.count,
    finalizing = table.move(inflight.finalizing, 1, #inflight.finalizing, 1, {}),
    now = context.now(),
  }
  for _, name in ipairs(asked_for) do description[name] = fields[name] end
  return description
end

--- A strategy has no clock: how long a run may still be put off is worked out for it.
---@param runs table[] what it is shown; written to
---@param now string a time
function admission.show_time_left(runs, now)
  for _, run in ipairs(runs) do
    if run.start_by then
      run.start_within = math.max(0, kernel.time_seconds(run.start_by) - kernel.time_seconds(now))
    end
  end
end

--- What matters of a run when it is cancelled; kept apart from what the strategy is shown and could change.
---@param runs table[]
---@return { run_id: string, status: string, session_id: integer?, priority: integer? }[]
function admission.outline(runs)
  local outlines = {}
  for i, run in ipairs(runs) do
    outlines[i] = { run_id = run.run_id, status = run.status, session_id = run.session_id, priority = run.priority }
  end
  return outlines
end

-- --- Carrying a decision out ----------------------------------------------------------------------------------------

-- What became of the runs in the way: ids, and what was written, by id.
local function new_effects()
  return { interrupted = {}, waits_for = {}, cancelled = {}, rows = {} }
end

local function add(list, id) list[#list + 1] = id end

-- Stops a run: at once if it is this session's or pending, else by asking its owner. One that goes on for a while,
-- since its owner has to stop or to settle it, is one to wait for. Returns true, or nil and an error.
local function cancel(context, tx, run, action, effects)
  if run.status ~= "pending" and run.session_id ~= context.session_id() then
    local winner, err = tx:request_cancel(run.run_id, { action = action })
    if not winner then return nil, err end
    add(effects.waits_for, run.run_id)
  else
    local done, written = tx:update_status(run.run_id, "interrupted", { cancel_action = action, finalizing = true })
    if done == nil then return nil, written end
    add(effects.interrupted, run.run_id)
    effects.rows[run.run_id] = written
    if written.finalizing then add(effects.waits_for, run.run_id) end
  end
  add(effects.cancelled, run.run_id)
  return true
end

local function cancel_runs(context, tx, request, decision, shown, effects)
  local wanted = {}
  for _, id in ipairs(decision.cancel) do wanted[id] = true end
  local page, is_cut = shown, shown.is_cut
  repeat
    local last
    for _, run in ipairs(page) do
      last = run.run_id
      if (decision.all or wanted[run.run_id]) and run.run_id ~= decision.replace then
        local done, err = cancel(context, tx, run, decision.action, effects)
        if not done then return nil, err end
      end
    end
    local more = decision.all and (#page == SHOWN or is_cut)
    if more then
      page, is_cut = tx:list_inflight { thread_id = request.thread_id, limit = SHOWN, after = last, brief = true }
      if not page then return nil, is_cut end
    end
  until not more
  return true
end

-- The newcomer takes the place of a run that waits.
local function replace(tx, request, old, effects)
  local ok, written = tx:put(old, { status = "interrupted", stop_reason = "superseded", cancel_action = "interrupt",
    successor = request.run_id })
  if not ok then return nil, written end
  add(effects.interrupted, old)
  effects.rows[old] = written
  return true
end

-- The runs ahead of a newcomer that has to wait for its turn. What is pending with a lower priority is behind it.
local function queue_of(decision, shown, count, effects, priority)
  local gone, ahead = {}, {}
  for _, id in ipairs(effects.interrupted) do gone[id] = true end
  for _, id in ipairs(effects.waits_for) do gone[id] = true end
  for _, id in ipairs(decision.after) do gone[id] = true end
  for _, id in ipairs(effects.waits_for) do add(ahead, id) end
  for _, id in ipairs(decision.after) do add(ahead, id) end
  if decision.concurrency and count - #effects.interrupted >= decision.concurrency then
    for _, run in ipairs(shown) do
      if #ahead >= NAMED then break end
      local behind = run.status == "pending" and (run.priority or 0) < priority
      if not gone[run.run_id] and not behind then add(ahead, run.run_id) end
    end
  end
  return ahead
end

--- Adds to an event, or an answer, who decided; and, when that was the fallback, in whose place and why.
---@param note table
---@param request table
---@param decision table
function admission.add_strategy(note, request, decision)
  local policy = decision.fallback or request.policy
  note.strategy, note.strategy_version = policy.name, policy.version
  if not decision.fallback then return end
  local failure = decision.failure
  note.fallback_for = { strategy = request.policy.name, strategy_version = request.policy.version, code = failure.code,
    line = failure.line, reason = failure.reason }
end

-- What the event of the newcomer says of how it came to be.
local function note_of(request, decision, effects, ahead)
  local note = { reason = decision.reason, replaced = decision.replace }
  admission.add_strategy(note, request, decision)
  if #effects.cancelled > 0 then
    note.cancelled = kernel.array(effects.cancelled)
    note.action = decision.action
  end
  if #ahead > 0 then note.queued_behind = kernel.array(ahead) end
  return note
end

local function later(now, seconds)
  return kernel.time_text(kernel.time_seconds(now) + seconds)
end

-- The places in time and in the queue that a decision gives a newcomer. A transaction may be tried again, and its
-- decision be another one then: nothing of the last try stays.
local function place(context, request, decision, effects)
  local fields, waits_for = request.fields, effects.waits_for
  fields.waits_for, fields.start_by, fields.scheduled_at = nil, nil, request.scheduled_at
  if #decision.after > 0 then
    waits_for = table.move(waits_for, 1, #waits_for, #decision.after + 1, { table.unpack(decision.after) })
  end
  if #waits_for > 0 then fields.waits_for = waits_for end
  fields.concurrency, fields.strict = decision.concurrency, decision.strict
  local now = (decision.delay or decision.within) and context.now()
  if decision.delay then
    local at = later(now, decision.delay)
    if not fields.scheduled_at or kernel.time_seconds(fields.scheduled_at) < kernel.time_seconds(at) then
      fields.scheduled_at = at
    end
  end
  if decision.within then fields.start_by = later(now, decision.within) end
end

local function admit(context, tx, request, decision, inflight, shown)
  local effects = new_effects()
  if decision.all or #decision.cancel > 0 then
    local done, err = cancel_runs(context, tx, request, decision, shown, effects)
    if not done then return nil, err end
  end
  if decision.replace then
    local done, err = replace(tx, request, decision.replace, effects)
    if not done then return nil, err end
  end
  -- What the caller knows only once it is admitted.
  if request.complete then
    local done, err = request.complete(request.fields)
    if not done then return nil, err end
  end
  place(context, request, decision, effects)
  local ahead = queue_of(decision, shown, inflight.count, effects, request.fields.priority or 0)
  local ok, written = tx:put(request.run_id, request.fields, note_of(request, decision, effects, ahead))
  if not ok then return nil, written end
  return { verdict = "created", written = written, interrupted = effects.interrupted, rows = effects.rows,
    cancelled = effects.cancelled, action = decision.action, ahead = ahead, decision = decision }
end

-- --- Deciding -------------------------------------------------------------------------------------------------------

-- Whether a run leaves its key to the next: its owner was lost, so nobody knows that it ran to its end; the newcomer is
-- another try of it; or only a success counts for the newcomer.
local function leaves_key(run, request)
  if run.run_id == request.fields.retry_of then return true end
  if run.stop_reason == "orphan_recovered" then return run.status ~= "pending" and run.status ~= "running" end
  return request.key_until == "success" and (run.status == "error" or run.status == "timeout"
    or run.status == "interrupted")
end

--- The run that was made with the request's key, if there is one that counts. One whose owner is gone is recovered
--- first.
---@param tx keel.Transaction
---@param context table
---@param request table
---@return table|false? run
---@return keel.Error? err
function admission.find_by_key(tx, context, request)
  local fields = request.fields
  if not fields.idempotency_key then return false end
  local run, err = tx:find_by_key(fields.idempotency_key, { user_id = fields.user_id })
  if run and (run.status == "pending" or run.status == "running") then
    local taken
    taken, err = recovery.take(tx, context, run)
    if taken == nil then return nil, err end
    if taken then run, err = tx:find_by_key(fields.idempotency_key, { user_id = fields.user_id }) end
  end
  if not run then
    if err then return nil, err end
    return false
  end
  if leaves_key(run, request) then return false end
  if run.thread_id ~= request.thread_id or run.idempotency_hash ~= fields.idempotency_hash then
    local what = run.thread_id ~= request.thread_id and "on another thread" or "with other contents"
    return nil, errors.new("idempotency_mismatch",
      ("the idempotency key was used %s, for run %s"):format(what, run.run_id), { run_id = run.run_id })
  end
  return run
end

-- Writes a refusal down, when the manager wants that.
local function record(context, tx, request, kind, run_id, decision)
  if not context.record_refusals then return true end
  local data = { reason = decision.reason, position = decision.position }
  admission.add_strategy(data, request, decision)
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

-- Policy -> what it decides on an idle thread; false: it has to be asked.
local idle_decisions = setmetatable({}, { __mode = "k" })

-- What a newcomer to an idle thread gets by it is all that one call can write.
local function is_simple(decision)
  return decision.admit and not decision.delay and not decision.within
end

--- What a policy says it decides on an idle thread, if that is simple enough to be done in one call.
---@param policy keel.Policy
---@return table? decision
function admission.idle_decision(policy)
  if not policy.idle then return nil end
  local known = idle_decisions[policy]
  if known == nil then
    local decision = decisions.check(policy.idle, {}, {})
    known = decision and is_simple(decision) and decision or false
    idle_decisions[policy] = known
  end
  return known or nil
end

-- Asks a strategy, unless it has said what it decides on an idle thread, and this is one. Returns a decision whose runs
-- are ids.
local function ask(context, policy, request, inflight, shown)
  local is_idle = policy.of_host and policy.idle and inflight.count == 0 and #inflight.finalizing == 0
  if is_idle then
    local decision, problem = decisions.check(policy.idle, shown, inflight.finalizing)
    if not decision then return nil, policies.failed(policy, problem) end
    return decision
  end
  local description = describe(context, policy, request, inflight)
  admission.show_time_left(inflight.runs, description.now)
  local given, err = policies.call(policy, context.budget, description, inflight.runs)
  if err then return nil, err end
  local decision, problem = decisions.check(given, shown, inflight.finalizing)
  if not decision then return nil, policies.failed(policy, problem) end
  return decision
end

-- Asks the fallback in place of a strategy that failed. What that one was shown it may have changed: it is read again.
local function ask_fallback(context, tx, request, inflight, shown, failure)
  local policy = policies.find("strategies", context.fallback, context.strategies)
  local rows, err = documents.list_inflight(tx, { thread_id = request.thread_id, limit = SHOWN })
  if not rows then return nil, err end
  inflight.runs = split(rows)
  local fields = { strategy = request.policy.name, fallback = policy.name, thread_id = request.thread_id,
    line = failure.line, error = failure.message }
  context.log("warn", ("strategy %s failed; %s decides instead"):format(request.policy.name, policy.name), fields)
  local decision
  decision, err = ask(context, policy, request, inflight, shown)
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
  local decision, err = ask(context, request.policy, request, inflight, shown)
  if decision or not context.fallback or not policy_errors[err.code] then return decision, err end
  return ask_fallback(context, tx, request, inflight, shown, err)
end

local function carry_out(context, tx, request, inflight)
  local reserved = inflight.reservation
  if reserved then
    return refuse(context, tx, request, { reason = "the thread is reserved for a " .. reserved.operation_kind },
      reserved)
  end
  local shown = admission.outline(inflight.runs)
  shown.is_cut = inflight.is_cut
  local decision, err = decide(context, tx, request, inflight, shown)
  if not decision then return nil, err end
  if decision.admit then return admit(context, tx, request, decision, inflight, shown) end
  if not decision.reuse then return refuse(context, tx, request, decision, shown[1]) end
  local run
  run, err = tx:get(decision.reuse)
  if not run then return nil, err end
  return reuse(context, tx, request, decision, run)
end

--- Decides on a newcomer inside an open transaction and writes what was decided; the caller commits.
---@param tx keel.Transaction
---@param context table what the manager is
---@param request { run_id: string, thread_id: string, fields: table, policy: keel.Policy, strategy_options: table?,
--- scheduled_at: string?, complete: (fun(fields: table): true?, keel.Error?)? } scheduled_at: what the caller asked
--- for; a decision may make it later; complete: called when it is admitted, before it is written
---@return { verdict: "created"|"reused"|"refused", written: table?, interrupted: string[]?, recovered: string[],
--- rows: table<string, table>?, action: string?, run: table?, reason: string?, position: integer?,
--- by_key: boolean? }? outcome
---@return keel.Error? err
function admission.decide(tx, context, request)
  context.left = {}
  local known, err = admission.find_by_key(tx, context, request)
  if err then return nil, err end
  if known then
    local outcome
    outcome, err = reuse(context, tx, request, { reason = "the idempotency key was used for it" }, known)
    if not outcome then return nil, err end
    outcome.by_key, outcome.recovered = true, {}
    return outcome
  end
  local inflight, outcome
  inflight, err = admission.read_inflight(context, tx, request.thread_id)
  if not inflight then return nil, err end
  outcome, err = carry_out(context, tx, request, inflight)
  if not outcome then return nil, err end
  outcome.recovered = inflight.recovered
  outcome.left = outcome.run and context.left and context.left[outcome.run.run_id] or nil
  return outcome
end

return admission
