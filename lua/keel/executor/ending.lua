--- How an attempt ends in the store: its run is over, or goes back to the queue. Whatever the handler has said, the end
--- is written, and goes on being tried until the store has answered.
local LiveRuns = require "keel.manager.live_runs"
local errors = require "keel.errors"
local kernel = require "keel.kernel"
local outcome_of_handler = require "keel.executor.outcome"

local ending = {}

local STEP, STEP_LAST = 0.05, 5 -- seconds between two tries at writing how a run ended
local UNKNOWN_DELAY = 5         -- seconds that a run is left alone whose handler is not here

-- Answers that another try does not change.
local refusals = { stale_owner = true, invalid_transition = true, not_found = true, invalid_request = true,
  limit_too_large = true }

--- Nil when the run is still this attempt's. One that was given back or lost is not, though this process may have taken
--- it again: another attempt of it runs here then, and what is written by the run's id is written in its name.
---@param task keel.ExecutorTask
---@return keel.Error? err
function ending.stale(task)
  local live, record = task._executor._live, task._record
  local current = live:get(record.run_id)
  if not live:is_lost(record.run_id) and (current == nil or current == record) then return nil end
  return errors.new("stale_owner", ("this attempt of run %s is over: it was given back or lost"):format(record.run_id),
    { run_id = record.run_id })
end

-- Calls a method of the manager, or of the attachment to it, for the run until the store has answered. A run whose end
-- could not be written is not over.
local function insist(task, whose, method, given)
  local executor, run_id, step = task._executor, task._record.run_id, STEP
  while true do
    local stale = ending.stale(task)
    if stale then return nil, stale end
    local done, err = whose[method](whose, run_id, given)
    if done ~= nil then return done end
    task.failure = err
    if refusals[err.code] or executor:_has_stopped() then return nil, err end
    executor._loop:sleep(step)
    step = math.min(step * 2, STEP_LAST)
  end
end

-- Gives the run back. Returns whether that is settled, one way or another.
local function give_back(task, options)
  local executor, run_id = task._executor, task._record.run_id
  local run, err = insist(task, executor._manager, "requeue", options)
  task.given_back = run ~= nil and executor._live:is_lost(run_id) -- by now another may have it
  if run and run.status == "pending" then executor:_expect(options.delay) end
  return run ~= nil or err.code == "stale_owner" or executor:_has_stopped()
end

-- For another attempt, after the delay of the policy.
local function try_again(task, outcome)
  local backoff, attempt = task._executor._backoff, task._record.attempt or 1
  local delay = backoff:delay(math.max(attempt, 1), backoff.jitter > 0 and math.random() or 0)
  return give_back(task, { delay = delay, error = outcome.error })
end

local function may_retry(record)
  return not LiveRuns.is_final(record.status) and (record.attempt or 1) < (record.max_attempts or 1)
end

-- Whether the run has taken longer than it may, and nobody has noticed: its handler has let nobody else work.
local function is_late(task)
  local record = task._record
  return record.deadline and not LiveRuns.is_final(record.status) and not task:is_cancelled() and
    kernel.time_seconds(record.deadline) <= task._executor:_now()
end

local function log(task, level, message, fields)
  fields.run_id = task._record.run_id
  task._executor._log(level, message, fields)
end

-- Writes that the run has ended. When the store refuses what the handler has said of it, how it ended is kept.
local function complete(task, outcome)
  local attachment = task._executor._attachment
  local done, err = insist(task, attachment, "complete", outcome)
  if done == nil and (err.code == "invalid_request" or err.code == "limit_too_large") then
    log(task, "warn", "what a handler returned cannot be stored; how the run ended is kept",
      { error = errors.text(err) })
    outcome = outcome_of_handler.core(outcome)
    done, err = insist(task, attachment, "complete", outcome)
  end
  if done == nil then
    log(task, err.code == "stale_owner" and "warn" or "error", "the end of a run could not be written",
      { status = outcome.status, error = errors.text(err) })
  end
end

-- The run was not done, and that is not its fault: somebody else goes on with it, if others can run it.
local function leave(task)
  if task._record.shared and give_back(task, { attempt = false }) then return end
  complete(task, { status = "interrupted", stop_reason = "shutdown" })
end

--- Writes how the attempt has ended.
---@param task keel.ExecutorTask
---@param outcome table as outcome.of gives it
function ending.write(task, outcome)
  local record = task._record
  local failed, said_nothing, left_out = outcome.failed, outcome.said_nothing, outcome.left_out
  local put_off = not outcome.raised and task._snoozed
  outcome.failed, outcome.said_nothing, outcome.left_out, outcome.raised = nil, nil, nil, nil
  if ending.stale(task) and not task:is_cancelled() then return end -- its handler has given it back
  if left_out then
    log(task, "warn", "a part of what a handler returned cannot be stored", { left_out = left_out })
  end
  if is_late(task) then
    outcome.status, outcome.stop_reason, outcome.error_code = "timeout", "deadline", nil
    outcome.error = "the deadline of the run has passed"
    return complete(task, outcome)
  end
  if task.timed_out and not LiveRuns.is_final(record.status) then
    outcome.status, outcome.stop_reason, outcome.error_code, outcome.result = "timeout", "timeout", "timeout", nil
    outcome.error = ("the attempt has taken longer than %s s"):format(kernel.number_text(record.timeout))
    if may_retry(record) and try_again(task, outcome) then return end
    return complete(task, outcome)
  end
  -- A handler that puts its run off has said what becomes of it, whoever asked it to stop but one who cancelled it.
  local may_put_off = put_off and (task:is_stopping() or not task:is_cancelled())
  if may_put_off and give_back(task, { attempt = false, delay = put_off }) then return end
  if task:is_stopping() and (failed or said_nothing or put_off) then return leave(task) end
  if (failed or put_off) and task:is_cancelled() then
    outcome.status, outcome.stop_reason = "interrupted", "cancelled"
  elseif failed and may_retry(record) and try_again(task, outcome) then
    return
  end
  complete(task, outcome)
end

--- The run asks for a handler that is not here. It goes back untouched, for others, and is left alone for a while.
---@param task keel.ExecutorTask
---@param outcome table
function ending.unknown_handler(task, outcome)
  log(task, "warn", "a run was given back: this executor does not have its handler",
    { handler = errors.text(outcome_of_handler.handler_name(task._record)), delay = UNKNOWN_DELAY })
  if not give_back(task, { attempt = false, delay = UNKNOWN_DELAY, error = outcome.error }) then
    ending.write(task, outcome)
  end
end

return ending
