--- The course of a command: started, watched over, ended if need be, tried again, and its outcome written down.
local kernel = require "keel.kernel"
local outcomes = require "keel.cli.exec.outcome"
local output = require "keel.cli.exec.output"
local signals = require "keel.cli.exec.signals"
local terminal = require "keel.cli.terminal"
local watch = require "keel.cli.exec.watch"

local STEP = 0.05 -- seconds between looks at whether the run was asked to stop, or has said all
local DELAY, DELAY_MAX = 1, 3600

-- Lets what the command said reach its readers. Nobody has to read it: after the grace the run ends without.
local function drain(course)
  local until_then = kernel.monotonic() + watch.grace(course)
  while course.supervisor:is_saying() and kernel.monotonic() < until_then do
    local news, name = signals.wait(course, STEP)
    if news == "signal" and signals.fatal[name] then break end
  end
end

-- The same when the outcome is written down, so that the thread is free: a reader who takes his time (a pager) gets all
-- of it, unless the command was ended for it.
local function finish_output(course, outcome)
  local supervisor = course.supervisor
  if outcome.was_ended then supervisor:hush() end
  while supervisor:is_saying() do
    local news, name = signals.wait(course, STEP)
    if news == "signal" and signals.fatal[name] then supervisor:hush() end
  end
  local unkept, unshown = supervisor:output()
  if unkept then terminal.say("keel exec: not all of the output could be kept: ", unkept) end
  if unshown then terminal.say("keel exec: not all of the output could be shown: ", unshown) end
  if unshown and outcome.code == 0 then outcome.code = 1 end
end

-- What of the output could not be shown, as on a full disk, is a failure of the run: its success is not the user's.
local function judge_output(course, outcome)
  local unkept, unshown = course.supervisor:output()
  if unkept then terminal.say("keel exec: not all of the output could be kept: ", unkept) end
  if not unshown then return end
  local text = "not all of the output could be shown: " .. unshown
  if outcome.status == "success" then
    outcome.code, outcome.status, outcome.error, outcome.message = 1, "error", text, text
    outcome.hopeless, outcome.is_failure = true, true
  else
    terminal.say("keel exec: ", text)
  end
end

-- One attempt. Returns its outcome: the fields of the run's completion, and the exit code.
local function attempt(course)
  local given, supervisor = course.options, course.supervisor
  course.ending, course.signalled = nil, nil
  local started, problem = output.start(course)
  if not started then return outcomes.not_started(1, problem) end
  watch.wait(course, given.timeout and kernel.monotonic() + given.timeout or math.huge)
  local failed = outcomes.failed_to_start(course)
  if failed then
    supervisor:output()
    return failed
  end
  drain(course)
  local why = course.ending and course.ending.why
  local outcome = (why == "asked" or why == "lost") and outcomes.stopped(course, (select(3, supervisor:result()))) or
    outcomes.judge(course, why)
  outcome.was_ended = why ~= nil or course.signalled ~= nil
  if not supervisor:is_saying() then judge_output(course, outcome) end
  return outcome
end

-- Writes down that another attempt is made, and waits before it. Returns the outcome instead when that is disturbed.
local function wait_for_next(course, number, failed)
  local given, run = course.options, course.run
  local seconds = math.min((given.delay or DELAY) * 2 ^ (number - 1), DELAY_MAX)
  local ok, err = course.store:transaction(function(tx)
    local written, failure = tx:put(run.run_id, { attempt = number + 1, fence = run.fence })
    if not written then return nil, failure end
    return tx:append_event { kind = "attempt_failed", run_id = run.run_id, thread_id = run.thread_id,
      data = { attempt = number, exit_code = failed.exit_code, error = failed.error, delay = seconds } }
  end)
  if not ok then terminal.say("keel exec: the attempt could not be written down: ", tostring(err)) end
  course.ending = nil -- what ended the attempt; from here on it is somebody who stops the run
  local until_then = kernel.monotonic() + seconds
  repeat
    local left = until_then - kernel.monotonic()
    local news, name = signals.wait(course, math.min(math.max(left, 0), STEP))
    if news == "signal" and signals.fatal[name] then
      local ended = signals.outcome(name)
      ended.status, ended.stop_reason, ended.exit_code = "interrupted", "SIG" .. name, failed.exit_code
      return ended
    end
    watch.look_for_stop(course)
    if course.ending then
      -- The exit code is the last attempt's in the record; for our caller it is a stop, not the failure of an attempt.
      local outcome = outcomes.stopped(course, failed.exit_code)
      outcome.code = 143
      return outcome
    end
  until left <= 0
end

-- The outcome in the store. The command has ended by now, so its exit code is passed on in any case but one: a success
-- that is not written down is none.
local function write_down(course, outcome)
  local ok, err = course.manager:update_run_completion(course.run.run_id, { status = outcome.status,
    error = outcome.error, error_code = outcome.error_code, exit_code = outcome.exit_code,
    stop_reason = outcome.stop_reason })
  if ok then return end
  outcome.message = ("the outcome (%s) could not be written down: %s"):format(outcome.status,
    err and tostring(err) or "the run is gone")
  outcome.is_failure, outcome.unwritten = true, err and err.code or "not_found"
  if outcome.code == 0 then outcome.code = 1 end
end

--- Runs the command of a run that has just been started.
---@param course table
---@return { code: integer, message?: string, interrupted?: boolean } outcome
return function(course)
  local outcome, number = nil, 1
  if course.leaving then
    outcome = signals.outcome(course.leaving)
    outcome.status, outcome.stop_reason = "interrupted", "SIG" .. course.leaving
  end
  if not outcome then
    local made, err = output.make(course)
    if not made then
      outcome = { code = 1, status = "error", error = err.message, error_code = "not_started", message = err.message,
        is_failure = true }
    end
  end
  watch.hold_session(course)
  while not outcome do
    local last = attempt(course)
    if last.status == "success" or last.hopeless or number >= (course.options.attempts or 1) then
      outcome = last
    else
      outcome = wait_for_next(course, number, last)
      number = number + 1
    end
  end
  course.outcome = outcome
  course.supervisor:leave()
  write_down(course, outcome)
  finish_output(course, outcome)
  return outcome
end
