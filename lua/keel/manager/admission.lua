--- Admission: may this run start now? Read, decided and written in one transaction.
local decisions = require "keel.manager.decision"
local kernel = require "keel.kernel"
local policies = require "keel.policies"
local recovery = require "keel.manager.recovery"

local admission = {}

local SHOWN = 256 -- in-flight runs a strategy is shown, oldest first; it also gets the exact count

-- The thread's runs in flight, after what a dead session left there has been recovered.
local function read_inflight(context, tx, thread_id)
  local runs, err
  repeat
    runs, err = tx:list_inflight { thread_id = thread_id, limit = SHOWN }
    if not runs then return nil, err end
    if #runs == 0 then return runs, nil, 0 end
    local recovered = false
    for _, run in ipairs(runs) do
      local taken
      taken, err = recovery.take(tx, context, run)
      if taken == nil then return nil, err end
      recovered = recovered or taken
    end
  until not recovered -- what was given back is in flight still, and more may have come into sight
  if #runs < SHOWN then return runs, nil, #runs end
  local count
  count, err = tx:count_inflight(thread_id)
  if not count then return nil, err end
  return runs, nil, count
end

-- What a strategy is told of the newcomer.
local function describe(context, request, count)
  return {
    thread_id = request.thread_id,
    assistant_id = request.fields.assistant_id,
    user_id = request.fields.user_id,
    metadata = request.fields.metadata,
    kwargs = request.fields.kwargs,
    model_name = request.fields.model_name,
    priority = request.fields.priority or 0,
    fingerprint = request.fields.fingerprint,
    batch_id = request.fields.batch_id,
    scheduled_at = request.fields.scheduled_at,
    deadline = request.fields.deadline,
    multitask_strategy = request.policy.name,
    options = request.strategy_options or {},
    inflight_count = count,
    now = context.now(),
  }
end

-- What matters of a run when it is cancelled; kept apart from what the strategy is shown and could change.
local function outline(runs)
  local outlines = {}
  for i, run in ipairs(runs) do
    outlines[i] = { run_id = run.run_id, status = run.status, session_id = run.session_id }
  end
  return outlines
end

-- Stops a run: at once if it is this session's or pending, else by asking its owner. Returns what was done, and what
-- was written if it was interrupted.
local function cancel(context, tx, run, action)
  if run.status == "pending" or run.session_id == context.session_id then
    local done, written = tx:update_status(run.run_id, "interrupted", { cancel_action = action })
    if done == nil then return nil, written end
    return "interrupted", written
  end
  local winner, err = tx:request_cancel(run.run_id, { action = action })
  if not winner then return nil, err end
  return "asked"
end

local none = {} -- shared; nobody writes to it

-- Carries the decision's cancels out. Returns the ids that were interrupted, those whose owners were asked, and what
-- was written, by id.
local function cancel_runs(context, tx, request, decision, shown)
  local interrupted, asked, rows = {}, {}, {}
  local wanted = {}
  for _, id in ipairs(decision.cancel) do wanted[id] = true end
  local page = shown
  repeat
    local last
    for _, run in ipairs(page) do
      last = run.run_id
      if decision.all or wanted[run.run_id] then
        local done, written = cancel(context, tx, run, decision.action)
        if not done then return nil, nil, nil, written end
        local list = done == "asked" and asked or interrupted
        list[#list + 1] = run.run_id
        rows[run.run_id] = written
      end
    end
    local more = decision.all and #page == SHOWN
    if more then
      local err
      page, err = tx:list_inflight { thread_id = request.thread_id, limit = SHOWN, after = last }
      if not page then return nil, nil, nil, err end
    end
  until not more
  return interrupted, asked, rows
end

-- What the event of the newcomer says of how it came to be.
local function note_of(request, decision, interrupted, asked, waits_for)
  local note = { strategy = request.policy.name, strategy_version = request.policy.version, reason = decision.reason }
  if #interrupted + #asked > 0 then
    note.cancelled = kernel.array(table.move(asked, 1, #asked, #interrupted + 1, { table.unpack(interrupted) }))
    note.action = decision.action
  end
  if #waits_for > 0 then note.queued_behind = kernel.array(waits_for) end
  return note
end

local function admit(context, tx, request, decision, shown)
  local interrupted, asked, rows = none, none, none
  if decision.all or #decision.cancel > 0 then
    local err
    interrupted, asked, rows, err = cancel_runs(context, tx, request, decision, shown)
    if not interrupted then return nil, err end
  end
  local waits_for = decision.after
  if #asked > 0 then
    -- A run whose owner was only asked still runs: the newcomer starts behind it.
    waits_for = table.move(asked, 1, #asked, #decision.after + 1, { table.unpack(decision.after) })
  end
  local fields = request.fields
  if #waits_for > 0 then fields.waits_for = kernel.array(waits_for) end
  local ok, written = tx:put(request.run_id, fields, note_of(request, decision, interrupted, asked, waits_for))
  if not ok then return nil, written end
  return { verdict = "created", written = written, interrupted = interrupted, rows = rows, action = decision.action }
end

--- Decides on a newcomer inside an open transaction and writes what was decided; the caller commits.
---@param tx keel.Transaction
---@param context { session_id: integer?, budget: keel.PolicyBudget, now: fun(): string }
---@param request { run_id: string, thread_id: string, fields: table, policy: keel.Policy, strategy_options: table? }
---@return { verdict: "created"|"reused"|"refused", written: table?, interrupted: string[]?,
--- rows: table<string, table>?, action: string?, run: table?, reason: string? }? outcome
---@return keel.Error? err
function admission.decide(tx, context, request)
  local inflight, err, count = read_inflight(context, tx, request.thread_id)
  if not inflight then return nil, err end
  local shown = outline(inflight)
  local given
  given, err = policies.call(request.policy, context.budget, describe(context, request, count), inflight)
  if err then return nil, err end
  local decision, problem = decisions.check(given, shown)
  if not decision then return nil, policies.failed(request.policy, problem) end
  if decision.admit then return admit(context, tx, request, decision, shown) end
  if decision.reuse then
    local run
    run, err = tx:get(decision.reuse)
    if not run then return nil, err end
    return { verdict = "reused", run = run }
  end
  return { verdict = "refused", reason = decision.reason, run = shown[1] }
end

return admission
