--- For the tests of policies: requests and runs to show them, a policy called as a manager calls it, under the real
--- sandbox and checks, a clock that stands still, and a store in memory. Nothing here needs a database or waits.
local LoadedPolicy = require "keel.policy.loaded"
local ByPolicy = require "keel.schedule.by_policy"
local check = require "keel.check"
local decisions = require "keel.policy.decision"
local diagnostics = require "keel.policy.diagnostic"
local errors = require "keel.errors"
local in_flight = require "keel.admission.inflight"
local kernel = require "keel.kernel"
local outcomes = require "keel.policy.outcome"
local policies = require "keel.policy"
local about = require "keel.policy.questions"
local request_for = require "keel.admission.request"
local times = require "keel.schedule.times"

local testing = {}

--- The time that everything made here has, unless it is given another.
testing.now = "2026-01-01T00:00:00+00:00"

local function merged(record, fields)
  for name, value in pairs(fields or {}) do record[name] = value end
  return record
end

-- --- What a policy is shown -----------------------------------------------------------------------------------------

--- A run as a policy is shown one: running, unless `fields` say otherwise.
---@param run_id string
---@param fields? table<string, any>
---@return keel.Run
function testing.run(run_id, fields)
  check.type(run_id, "string", 1, "run")
  return merged({ run_id = run_id, thread_id = "t", status = "running", operation_kind = "run", metadata = {},
    kwargs = {}, priority = 0, attempt = 1, losses = 0, fence = 1, revision = 1, created_at = testing.now,
    updated_at = testing.now }, fields)
end

--- A run that waits.
---@param run_id string
---@param fields? table<string, any>
---@return keel.Run
function testing.pending(run_id, fields)
  check.type(run_id, "string", 1, "pending")
  return testing.run(run_id, merged({ status = "pending" }, fields))
end

--- A list of runs in flight, of ids (of running runs) and records.
---@param runs (string|keel.Run)[]
---@return keel.Run[]
function testing.inflight(runs)
  check.type(runs, "table", 1, "inflight")
  local list = {}
  for i, run in ipairs(runs) do
    check.type(run, "string|table", 1, "inflight")
    list[i] = type(run) == "string" and testing.run(run) or run
  end
  return list
end

--- What a strategy is told of a newcomer, unless `fields` say otherwise.
---@param fields? table<string, any>
---@param inflight? keel.Run[] what it is shown beside it; `inflight_count` is their number
---@return keel.Request
function testing.request(fields, inflight)
  return merged({ thread_id = "t", metadata = {}, kwargs = {}, on_disconnect = "cancel", options = {}, priority = 0,
    finalizing = {}, multitask_strategy = "custom", now = testing.now, inflight_count = #(inflight or {}) }, fields)
end

-- --- Calling one ----------------------------------------------------------------------------------------------------

local POLICY, STRATEGY = "string|function|policy", "string|function|table|policy"

-- A machine that runs tests may be slow; what a policy costs is told by its instructions.
local default_budget = merged(merged({}, policies.default_budget), { seconds = 10 })

local function find(kind, policy)
  local found, known = policies.find(kind, policy)
  if found then return found end
  if policy:find "[/.]" then
    local loaded, err = LoadedPolicy.load(policy)
    if not loaded then return nil, err end
    return loaded:as_policy()
  end
  error(("there is no %s among the built-in %s (%s); a file has its path"):format(policy, kind,
    table.concat(known, ", ")), 3)
end

-- A strategy, which may be a table.
local function find_strategy(policy, name)
  if type(policy) == "table" then
    local is_strategy, problem = policies.is_strategy(policy)
    if not is_strategy then
      error(("bad argument #1 to '%s' (the strategy %s)"):format(name, problem or "is no table of its own"), 3)
    end
  end
  return find("strategies", policy)
end

-- Calls a policy. Gives what it returned, the error, and what it used.
local function call(policy, budget, ...)
  local result, err = policies.call(policy, budget, ...)
  local usage
  if policy.box then
    usage = {}
    usage.instructions, usage.bytes = policy.box:usage()
  end
  return result, err, usage
end

-- The runs that a strategy is shown of those in flight. They are the caller's: what is added is added to copies.
local function shown(policy, inflight, now)
  local runs = table.move(inflight, 1, math.min(#inflight, in_flight.SHOWN), 1, {})
  for i, run in ipairs(runs) do runs[i] = merged({}, run) end
  request_for.show_times(policy, runs, now)
  return runs
end

-- A decision as its author would write it, with the ids of runs.
local function written(decision)
  local all, some = decision.all and "all", #decision.cancel > 0 and decision.cancel
  local cancel = all or some or nil
  return { admit = decision.admit, cancel = cancel, action = cancel and decision.action,
    after = #decision.after > 0 and decision.after or nil, concurrency = decision.concurrency, delay = decision.delay,
    within = decision.within, replace = decision.replace, reuse = decision.reuse, position = decision.position,
    slots = decision.slots, rates = decision.rates, reason = decision.reason }
end

-- What a strategy says: to answers, on an idle thread without being asked, or as it is asked.
local function say(asked, bounds, request, runs, read)
  local idle = policies.idle_of(asked, request.inflight_count, request.finalizing)
  if idle then return idle end
  if read then return call(asked, bounds, request, runs, read) end
  return call(asked, bounds, request, runs)
end

-- A request before anybody looked at the thread.
local function request_alone(asked, fields)
  local request = testing.request(merged({ multitask_strategy = asked.name }, fields))
  request.inflight_count, request.finalizing = nil, nil
  return request
end

--- Asks a strategy what it wants to read, as admission does, and checks its questions.
--- Raises for wrong types. Fails with policy_failed, policy_budget and invalid_request (policy_budget).
---@param policy string|keel.AnyStrategy the path of a file, the name of a built-in one, or the strategy
---@param fields? table<string, any> of the request; see testing.request
---@param budget? { instructions?: integer, seconds?: number, bytes?: number } by default a manager's, with 10 seconds
---@return table<string, keel.Question>? questions empty for a strategy that reads nothing
---@return keel.Error? err
function testing.reads(policy, fields, budget)
  check.type(policy, STRATEGY, 1, "reads")
  check.type(fields or {}, "table", 2, "reads")
  local bounds, err = policies.budget(budget, default_budget, 3, "reads")
  if not bounds then return nil, err end
  local asked
  asked, err = find_strategy(policy, "reads")
  if not asked then return nil, err end
  if not asked.reads then return {} end
  return policies.questions(asked, bounds, request_alone(asked, fields))
end

-- The answers that a test gives, if they are what the strategy asks for. Raises unless they are.
local function answers(asked, bounds, fields, read)
  if not asked.reads then
    if read then error("bad argument #4 to 'decide' (the strategy reads nothing)", 3) end
    return nil
  end
  local questions, err = policies.questions(asked, bounds, request_alone(asked, fields))
  if not questions then return nil, err end
  local problem = about.check_answers(read or {}, questions)
  if problem then error(("bad argument #4 to 'decide' (%s)"):format(problem), 3) end
  return merged({}, read)
end

--- Asks a strategy, as admission does, and checks its decision.
--- Raises for wrong types, for options that a built-in strategy does not have, and for answers that do not go with its
--- questions. Fails with policy_failed, policy_budget and invalid_request (policy_budget, an option of a built-in
--- strategy).
---@param policy string|keel.AnyStrategy the path of a file, the name of a built-in one, or the strategy
---@param fields? table<string, any> of the request; see testing.request
---@param inflight? (string|keel.Run)[] see testing.inflight
---@param read? table<string, integer> of a strategy that reads: an answer to each of its questions
---@param budget? { instructions?: integer, seconds?: number, bytes?: number } by default a manager's, with 10 seconds
---@return keel.Decision? decision with ids in the place of runs, and `action` only with `cancel`
---@return keel.Error? err
---@return { instructions: integer, bytes: integer }? usage of a file; nil when its `idle` said it
function testing.decide(policy, fields, inflight, read, budget)
  check.type(policy, STRATEGY, 1, "decide")
  check.type(fields or {}, "table", 2, "decide")
  check.type(inflight or {}, "table", 3, "decide")
  check.type(read or {}, "table", 4, "decide")
  local bounds, err = policies.budget(budget, default_budget, 5, "decide")
  if not bounds then return nil, err end
  local asked
  asked, err = find_strategy(policy, "decide")
  if not asked then return nil, err end
  local misuse, unfit = policies.check_options(asked, fields and fields.options)
  if misuse then error(("bad argument #2 to 'decide' (%s)"):format(misuse), 2) end
  if unfit then return nil, unfit end
  read, err = answers(asked, bounds, fields, read)
  if err then return nil, err end
  local all = testing.inflight(inflight or {})
  local request = testing.request(merged({ multitask_strategy = asked.name }, fields), all)
  local runs, finalizing = shown(asked, all, request.now), request.finalizing
  local known = in_flight.outline(runs)
  local result, usage
  result, err, usage = say(asked, bounds, request, runs, read)
  if err then return nil, err, usage end
  local decision, problem = decisions.check(result, known, finalizing)
  if not decision then return nil, policies.failed(asked, problem), usage end
  return written(decision), nil, usage
end

--- Asks a reconciler, as recovery does, and checks its outcome.
--- Raises for wrong types. Fails with policy_failed, policy_budget and invalid_request (policy_budget).
---@param policy string|keel.AnyReconciler the path of a file, the name of a built-in one, or the reconciler
---@param run keel.Run
---@param context? { now?: string, error?: string, cause?: "owner"|"lease"|"deadline" } default: the owner is gone
---@param budget? { instructions?: integer, seconds?: number, bytes?: number }
---@return keel.Outcome? outcome nil, without an error: it leaves the run alone
---@return keel.Error? err
---@return { instructions: integer, bytes: integer }? usage of a file
function testing.reconcile(policy, run, context, budget)
  check.type(policy, POLICY, 1, "reconcile")
  check.type(run, "table", 2, "reconcile")
  check.type(context or {}, "table", 3, "reconcile")
  local bounds, err = policies.budget(budget, default_budget, 4, "reconcile")
  if not bounds then return nil, err end
  local asked
  asked, err = find("reconcilers", policy)
  if not asked then return nil, err end
  context = merged({ now = testing.now, cause = "owner" }, context)
  local outcome, usage
  outcome, err, usage = call(asked, bounds, run, context)
  if err or outcome == nil then return nil, err, usage end
  local checked, problem = outcomes.check(outcome)
  if not checked then return nil, policies.failed(asked, problem), usage end
  return checked, nil, usage
end

--- Asks a diagnostic rule, and checks what it noticed.
--- Raises for wrong types. Fails with policy_failed, policy_budget and invalid_request (policy_budget).
---@param policy string|keel.DiagnosticRule|keel.LoadedPolicy a file's path, the name of a built-in one, or the rule
---@param snapshot table
---@param budget? { instructions?: integer, seconds?: number, bytes?: number }
---@return { severity: string, code: string, message: string, subject: any }[]? diagnostics empty for nil
---@return keel.Error? err
---@return { instructions: integer, bytes: integer }? usage of a file
function testing.diagnose(policy, snapshot, budget)
  check.type(policy, POLICY, 1, "diagnose")
  check.type(snapshot, "table", 2, "diagnose")
  local bounds, err = policies.budget(budget, default_budget, 3, "diagnose")
  if not bounds then return nil, err end
  local asked
  asked, err = find("diagnostics", policy)
  if not asked then return nil, err end
  local noticed, usage
  noticed, err, usage = call(asked, bounds, snapshot)
  if err then return nil, err, usage end
  if noticed == nil then return {}, nil, usage end
  local checked, problem = diagnostics.check(noticed)
  if not checked then return nil, policies.failed(asked, problem), usage end
  return checked, nil, usage
end

--- Asks a schedule policy when its schedule happens next, as a tick does, and checks its answer.
--- Raises for wrong types. Fails with policy_failed, policy_budget and invalid_request (policy_budget, last, now).
---@param policy string|keel.AnySchedulePolicy a file's path, or the policy
---@param last? string time of the last occurrence; default testing.now
---@param now? string default `last`
---@param budget? { instructions?: integer, seconds?: number, bytes?: number }
---@return string? time
---@return keel.Error? err
function testing.next_time(policy, last, now, budget)
  check.type(policy, POLICY, 1, "next_time")
  last = last or testing.now
  now = now or last
  for i, time in ipairs { last, now } do
    check.type(time, "string", i + 1, "next_time")
    if not kernel.time_seconds(time) then
      return nil, errors.invalid(i == 1 and "last" or "now", "is not an RFC 3339 time")
    end
  end
  local bounds, err = policies.budget(budget, default_budget, 4, "next_time")
  if not bounds then return nil, err end
  local asked
  asked, err = find("schedules", policy)
  if not asked then return nil, err end
  local time
  time, err = ByPolicy.new(asked, bounds, times.micros(now)):after(times.micros(last))
  return time and times.text(time), err
end

-- --- Time and a store -----------------------------------------------------------------------------------------------

--- A clock that stands still until it is moved.
---@param start? number|string seconds since the epoch, or a time; default testing.now
---@return { read: fun(): number, advance: fun(seconds: number), text: fun(): string } clock read is what a store's
--- option `clock` wants; text is the same as a time
function testing.clock(start)
  local now = start or testing.now
  check.type(now, "number|string", 1, "clock")
  if type(now) == "string" then now = assert(kernel.time_seconds(now)) end
  return {
    read = function() return now end,
    advance = function(seconds)
      check.type(seconds, "number", 1, "advance")
      now = now + seconds
    end,
    text = function() return kernel.time_text(now) end,
  }
end

--- A store that lives in memory, on a clock that stands still.
---@param clock? { read: fun(): number } default: a new one
---@return keel.Store store
---@return { read: fun(): number, advance: fun(seconds: number), text: fun(): string } clock
function testing.store(clock)
  check.type(clock or {}, "table", 1, "store")
  clock = clock or testing.clock()
  return assert(kernel.open(":memory:", { clock = clock.read })), clock
end

return testing
