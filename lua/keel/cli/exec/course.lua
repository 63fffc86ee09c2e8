--- The course of a command: started, watched over, ended if need be, tried again, and its outcome written down.
local kernel = require "keel.kernel"
local output = require "keel.cli.output"
local readable = require("keel.errors").readable
local signals = require "keel.cli.exec.signals"
local terminal = require "keel.cli.terminal"
local words = require "keel.cli.exec.words"

local STEP = 0.05      -- seconds between looks at whether the run was asked to stop
local SHORT_STEP = 0.01 -- the same while something is being ended
local GRACE = 5
local DELAY, DELAY_MAX = 1, 3600
local ENOENT = 2

-- A signal for the command and its family; for daemons too, unless the command came to its end by itself.
local function signal_all(course, name)
  course.supervisor:signal(name, course.ending.why ~= "left over")
end

-- What is stopped has to go on to hear of it.
local function terminate(course)
  signal_all(course, "TERM")
  signal_all(course, "CONT")
end

local function grace_of(course) return course.options.grace or GRACE end

-- Ends the command's family: SIGTERM now, SIGKILL after the grace.
local function begin_ending(course, why)
  if course.ending then return end
  course.ending = { why = why, kill_at = kernel.monotonic() + grace_of(course) }
  terminate(course)
end

-- Whether somebody asked the run to stop, or took it away. Looks into the store only when there is news.
local function look_for_stop(course)
  local store, run = course.store, course.run
  if course.cursor and not store:wait_events(course.cursor, { timeout = 0 }) then return end
  local page = store:read_events(course.cursor, 256, { run_id = run.run_id })
  if not page then return end
  local is_first = course.cursor == nil
  course.cursor = page.cursor
  if #page.events == 0 and not is_first then return end
  local report = course.manager:heartbeat()
  if not report then return end
  for _, record in ipairs(report.cancel_requested) do
    if record.run_id == run.run_id then
      course.asked = record.cancel_action
      begin_ending(course, "asked")
    end
  end
  for _, record in ipairs(report.lost) do
    if record.run_id == run.run_id then
      course.lost = true
      begin_ending(course, "lost")
    end
  end
end

-- Whether the command ended by a signal that was passed on, or did not take it for a success: then its daemons go too.
local function is_stopped_by_signal(course)
  return course.signalled and select(3, course.supervisor:result()) ~= 0
end

-- Says once that signals are refused, as by a command that runs as another user.
local function tell_refusal(course)
  local why = not course.refusal and course.supervisor:refusal()
  if not why then return end
  course.refusal = why
  terminal.say("keel exec: signals for the command are refused: ", why, "; waiting until it ends")
end

-- The number of those whose end has to be waited for: while the command is being ended, all that can be; else those
-- that have not left for a session of their own, as daemons do.
local function waited_for(course)
  local near, all = course.supervisor:left()
  if course.ending and course.ending.why ~= "left over" and not course.refusal then return all end
  return near
end

-- Waits for the end of the command, and of what it leaves. Nothing is written down before that: the thread is not free.
local function watch(course, deadline)
  local supervisor, ended = course.supervisor, false
  course.watches = true
  while true do
    if not ended and supervisor:has_ended() then
      ended = true
      repeat until signals.wait(course, 0) ~= "signal" -- one that came together with the end
      if is_stopped_by_signal(course) then begin_ending(course, "signal") end
      if waited_for(course) > 0 then
        -- Also what was started after the first SIGTERM, by the command's handler of it.
        if course.ending then terminate(course) else begin_ending(course, "left over") end
      end
    end
    if ended and waited_for(course) == 0 then break end
    local now = kernel.monotonic()
    if not ended and now >= deadline then begin_ending(course, "timeout") end
    if course.ending and now >= course.ending.kill_at then
      course.ending.kill_at = now + STEP -- again, for what was made meanwhile
      signal_all(course, "KILL")
    end
    tell_refusal(course)
    local step = (ended or course.ending) and SHORT_STEP or STEP
    local news = signals.wait(course, math.min(step, math.max(deadline - now, 0.001)))
    if not news and not ended then look_for_stop(course) end
  end
  course.watches = false
end

-- Lets what the command said reach its readers. Nobody has to read it: after the grace the run ends without.
local function drain(course)
  local until_then = kernel.monotonic() + grace_of(course)
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

-- The outcome of a run that somebody asked to stop or took away, with the exit code the command left.
local function stopped(course, exit_code)
  local outcome = { code = exit_code ~= 0 and exit_code or 143, exit_code = exit_code, status = "interrupted",
    hopeless = true, message = "the run was asked to stop" }
  if course.lost then
    outcome.message = "the run was taken over by somebody else"
  elseif course.asked == "rollback" then
    outcome.status, outcome.error = "error", "rolled back"
  end
  return outcome
end

-- The outcome when there was no command to watch over.
local function not_started(code, text)
  return { code = code, message = text, status = "error", error = readable(text), error_code = "not_started",
    exit_code = code, hopeless = true, is_failure = true }
end

local function failed_to_start(course)
  local problem, number, step = course.supervisor:failure()
  if not problem then return nil end
  local name = course.options.command[1]
  if step ~= "exec" then
    return not_started(1, ("cannot watch over a command: %s: %s"):format(step, problem))
  end
  return not_started(number == ENOENT and 127 or 126, ("cannot run %s: %s"):format(words.quoted { name }, problem))
end

-- What the command's end says: the outcome of an attempt that nobody ended from here, but for the timeout.
local function judge(course, why)
  local exit_code, signal, code, is_lost = course.supervisor:result()
  local outcome = { code = code, exit_code = code }
  if why == "timeout" then
    outcome.code, outcome.status = 124, "timeout"
    outcome.error = ("it took longer than %s s"):format(output.number(course.options.timeout))
    if course.refusal then outcome.error = outcome.error .. "; signals were refused: " .. course.refusal end
    outcome.message = "timed out: " .. outcome.error
  elseif exit_code == 0 then
    outcome.status = "success"
  elseif is_lost then
    outcome.status, outcome.error, outcome.hopeless = "error", "its guardian was killed, and it with it", true
    outcome.message, outcome.is_failure = outcome.error, true
  elseif course.signalled or signal == "INT" then
    outcome.status, outcome.stop_reason, outcome.hopeless = "interrupted", "SIG" .. (course.signalled or signal), true
    outcome.interrupted = signal == "INT"
  else
    outcome.status = "error"
    outcome.error = signal and "ended by SIG" .. signal or "exit code " .. exit_code
  end
  return outcome
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
  local given, supervisor, folder = course.options, course.supervisor, course.folder
  course.ending, course.signalled = nil, nil
  local started, problem = supervisor:start(folder and folder .. "/stdout", folder and folder .. "/stderr")
  if not started then
    return not_started(1, folder and ("cannot keep the output in %s: %s"):format(folder, problem) or
      ("cannot watch over a command: %s"):format(problem))
  end
  watch(course, given.timeout and kernel.monotonic() + given.timeout or math.huge)
  local failed = failed_to_start(course)
  if failed then
    supervisor:output()
    return failed
  end
  drain(course)
  local why = course.ending and course.ending.why
  local outcome = (why == "asked" or why == "lost") and stopped(course, (select(3, supervisor:result()))) or
    judge(course, why)
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
    look_for_stop(course)
    if course.ending then
      -- The exit code is the last attempt's in the record; for our caller it is a stop, not the failure of an attempt.
      local outcome = stopped(course, failed.exit_code)
      outcome.code = 143
      return outcome
    end
  until left <= 0
end

-- Makes the folder that the output is kept in, and tells the run.
local function make_folder(course)
  local keel_command, run = require "keel.command", course.run
  local folder = course.options.keep .. "/" .. run.run_id
  for _, path in ipairs { course.options.keep, folder } do
    local made, problem = keel_command.make_directory(path)
    if not made then return nil, ("cannot keep the output in %s: %s"):format(path, problem) end
  end
  if not folder:find "^/" and course.directory then folder = course.directory .. "/" .. folder end
  local ok, err = course.store:put(run.run_id, { logs_path = readable(folder), fence = run.fence })
  if not ok then return nil, tostring(err) end
  course.folder = folder
  return true
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
  if not outcome and course.options.keep then
    local made, problem = make_folder(course)
    if not made then
      outcome = { code = 1, status = "error", error = problem, error_code = "not_started", message = problem,
        is_failure = true }
    end
  end
  -- From here on, the session is there for as long as anything of the command is, whatever becomes of us.
  local lock = course.store:session_descriptor()
  if lock then course.supervisor:hold(lock) end
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
