--- Recovery: what becomes of runs whose owner is gone, or whose time is over. A reconciler decides, the kernel judges
--- and writes.
local errors = require "keel.errors"
local policies = require "keel.policies"

local recovery = {}

local PAGE = 256 -- runs looked at in one read

local final = { success = true, error = true, timeout = true, interrupted = true }

local outcome_fields = { status = "string", error = "string", error_code = "string", stop_reason = "string",
  requeue = "boolean", delay = "number" }

--- What is wrong with what a reconciler decided; nil when nothing is.
---@param outcome any
---@return string? problem
function recovery.problem_with(outcome)
  if type(outcome) ~= "table" then return "the outcome must be a table or nil, got " .. type(outcome) end
  for key, value in pairs(outcome) do
    local expected = outcome_fields[key]
    if not expected then return ("the outcome has the unknown field '%s'"):format(tostring(key)) end
    if type(value) ~= expected then return ("%s must be a %s, got %s"):format(key, expected, type(value)) end
  end
  if outcome.delay and not (outcome.delay >= 0 and outcome.delay < math.huge) then
    return "delay must be a number of seconds, at least 0"
  end
  if outcome.requeue then return nil end
  if outcome.delay then return "delay is for outcomes that requeue" end
  if not final[outcome.status] then return "status must be success, error, timeout or interrupted, or requeue true" end
end

local run_kinds = { run = true, dispatch = true }

--- Whether a row is a reservation, and no run.
---@param row table
---@return boolean
function recovery.is_reservation(row)
  return not run_kinds[row.operation_kind]
end

-- A reservation is no run: nobody decides what becomes of it.
local of_reservations = { status = "interrupted", error = "the holder of the reservation is gone" }

-- What the reconciler makes of a run: an outcome, or nil to leave it alone. A run's own reconciler wins.
local function outcome_of(context, run, cause)
  if recovery.is_reservation(run) then return of_reservations end
  local wanted = run.reconciler or context.reconciler or "fail_orphans"
  local policy, known = policies.find("reconcilers", wanted, context.reconcilers)
  if not policy then
    return nil, errors.new("policy_failed",
      ("run %s names the reconciler %s; known are: %s"):format(run.run_id, wanted, table.concat(known, ", ")),
      { policy = wanted, reason = "unknown reconciler" })
  end
  local outcome, err = policies.call(policy, context.budget, run,
    { now = context.now(), error = context.error, cause = cause })
  if err or outcome == nil then return nil, err end
  local problem = recovery.problem_with(outcome)
  if problem then return nil, policies.failed(policy, problem) end
  return outcome
end

--- Why a run in flight may be recovered: "deadline", "lease", "owner" (it is gone), or nil. The kernel judges again
--- when it is taken.
---@param context table
---@param run table its row
---@param is_alive fun(session_id: integer): boolean
---@return "deadline"|"lease"|"owner"|nil cause
function recovery.cause_of(context, run, is_alive)
  -- Times of this form sort as text.
  if run.deadline and run.deadline <= context.now() then return "deadline" end
  if run.session_id == nil then return not run.claimable and "owner" or nil end
  if run.session_id == context.session_id then return nil end
  if run.lease_expires_at and run.lease_expires_at <= context.now() then return "lease" end
  return not is_alive(run.session_id) and "owner" or nil
end

--- Recovers one run, if it is an orphan, inside an open transaction. A reconciler that fails leaves its run as it is,
--- and does not keep others from being admitted.
---@param tx keel.Transaction
---@param context table
---@param run table its row
---@return boolean? taken nil: the store failed
---@return keel.Error? err
function recovery.take(tx, context, run)
  local failure
  local cause = recovery.cause_of(context, run, function(session_id)
    local alive, err = tx:session_alive(session_id)
    failure = err
    return alive
  end)
  if failure then return nil, failure end
  if not cause then return false end
  local outcome, err = outcome_of(context, run, cause)
  if err then context.log("warn", "a run could not be recovered", { run_id = run.run_id, error = tostring(err) }) end
  if not outcome then return false end
  local taken
  taken, err = tx:claim_for_takeover(run.run_id, outcome)
  if err and (err.code == "invalid_request" or err.code == "limit_too_large") then
    context.log("warn", "a run could not be recovered", { run_id = run.run_id, error = tostring(err) })
    return false
  end
  return taken, err
end

-- Whether a run waits for others, and nobody will try to start it: whoever claims takes what is free.
local function waits_to_be_claimed(run)
  return run.claimable and run.status == "pending" and (run.waits_for or run.concurrency)
end

local function recover_run(context, run, cause, recovered)
  local outcome, err = outcome_of(context, run, cause)
  if not outcome then return err end
  local taken
  taken, err = context.claim(run.run_id, outcome)
  if taken and not recovery.is_reservation(run) then recovered[#recovered + 1] = run.run_id end
  return err
end

--- Recovers the orphans there are, run by run, each in a transaction of its own.
---@param context { list: fun(query: table), claim: fun(run_id: string, outcome: table), is_alive: fun(id: integer),
--- clear_way: fun(run: table): keel.Error?, now: fun(): string, session_id: integer?, budget: keel.PolicyBudget,
--- reconcilers: table?, reconciler: any, error: string?, before: string?, after: string?, page: integer? } page: look
--- at so many runs and no more, behind the run `after`; nil: at all
---@return string[] recovered their ids
---@return keel.Error? err the last failure; the runs it was about stay as they are
---@return string? last the run to go on behind; nil: that was all
function recovery.sweep(context)
  local recovered, alive, seen = {}, {}, {}
  local failure, last = nil, context.after
  local limit = context.page or PAGE
  -- Sessions are asked about once a sweep. One that lives now may die meanwhile: the next sweep sees it.
  local function is_alive(session_id)
    if alive[session_id] == nil then alive[session_id] = context.is_alive(session_id) end
    return alive[session_id]
  end
  repeat
    local page, err = context.list { before = context.before, limit = limit, after = last }
    if not page then return recovered, err, nil end
    local fresh = 0
    for _, run in ipairs(page) do
      last = run.run_id
      if not seen[last] then
        seen[last] = true
        fresh = fresh + 1
        local cause = recovery.cause_of(context, run, is_alive)
        if cause then
          failure = recover_run(context, run, cause, recovered) or failure
        elseif waits_to_be_claimed(run) then
          failure = context.clear_way(run) or failure
        end
      end
    end
    if #page < limit or fresh == 0 then last = nil end
  until last == nil or context.page
  return recovered, failure, last
end

return recovery
