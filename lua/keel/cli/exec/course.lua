--- The course of a command: started, watched over, ended if need be, tried again, and its outcome written down.
local kernel = require "keel.kernel"
local output = require "keel.cli.output"
local signals = require "keel.cli.exec.signals"

local STEP = 0.05      -- seconds between looks at whether the run was asked to stop
local SHORT_STEP = 0.01 -- the same while something is being ended
local GRACE = 5
local DELAY, DELAY_MAX = 1, 3600
local ENOENT = 2

-- SIGTERM for the command's group. What is stopped has to go on to hear of it.
local function terminate(course)
  course.supervisor:signal "TERM"
  course.supervisor:signal "CONT"
end

-- Ends the command's group: SIGTERM now, SIGKILL after the grace.
local function begin_ending(course, why)
  if course.ending then return end
  course.ending = { why = why, kill_at = kernel.monotonic() + (course.options.grace or GRACE) }
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

-- Waits for the end of the command, and of all it leaves in its group.
local function watch(course, deadline)
  local supervisor, ended = course.supervisor, false
  while true do
    if ended and not supervisor:has_others() then return end
    local now = kernel.monotonic()
    if not ended and now >= deadline then begin_ending(course, "timeout") end
    if course.ending and now >= course.ending.kill_at then
      supervisor:signal "KILL"
      if not ended then
        -- The guardian is gone with the group, but for processes in the middle of a system call nothing else is left.
        while supervisor:wait(STEP) ~= "ended" do supervisor:signal "KILL" end
      end
      return
    end
    local step = (ended or course.ending) and SHORT_STEP or STEP
    local news, name = supervisor:wait(math.min(step, math.max(deadline - now, 0.001)))
    if news == "ended" then
      ended = true
      if supervisor:has_others() then
        -- Also what was started after the first SIGTERM, by the command's handler of it.
        if course.ending then terminate(course) else begin_ending(course, "left over") end
      end
    elseif news == "signal" then
      supervisor:signal(name)
      if signals.fatal[name] then
        course.signalled = name
        supervisor:signal "CONT" -- what is stopped would not hear it
      end
    elseif not ended then
      look_for_stop(course)
    end
  end
end

-- Lets what the command said reach its readers.
local function drain(course)
  while course.supervisor:is_saying() do
    local news, name = course.supervisor:wait(STEP)
    if news == "signal" and signals.fatal[name] then return end
  end
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

-- One attempt. Returns its outcome: the fields of the run's completion, and the exit code.
local function attempt(course)
  local given, supervisor, folder = course.options, course.supervisor, course.folder
  course.ending, course.signalled = nil, nil
  local started, problem, number, at_exec = supervisor:start(given.command, folder and folder .. "/stdout",
    folder and folder .. "/stderr")
  if not started then
    local code = not at_exec and 1 or number == ENOENT and 127 or 126
    local text = at_exec and ("cannot run %s: %s"):format(given.command[1], problem) or
      ("cannot keep the output in %s: %s"):format(folder, problem)
    return { code = code, message = text, status = "error", error = text, error_code = "not_started",
      exit_code = code, hopeless = true, is_failure = true }
  end
  watch(course, given.timeout and kernel.monotonic() + given.timeout or math.huge)
  drain(course)
  local exit_code, signal, code, unkept = supervisor:result()
  if unkept then course.unkept = unkept end
  local why = course.ending and course.ending.why
  if why == "asked" or why == "lost" then return stopped(course, code) end
  local outcome = { code = code, exit_code = code }
  if why == "timeout" then
    outcome.code, outcome.status = 124, "timeout"
    outcome.error = ("it took longer than %s s"):format(output.number(given.timeout))
    outcome.message = "timed out: " .. outcome.error
  elseif exit_code == 0 then
    outcome.status = "success"
  elseif course.signalled or signal == "INT" then
    outcome.status, outcome.stop_reason, outcome.hopeless = "interrupted", "SIG" .. (course.signalled or signal), true
    outcome.interrupted = signal == "INT"
  else
    outcome.status = "error"
    outcome.error = signal and "ended by SIG" .. signal or "exit code " .. exit_code
  end
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
  if not ok then io.stderr:write("keel exec: the attempt could not be written down: ", tostring(err), "\n") end
  course.ending = nil -- what ended the attempt; from here on it is somebody who stops the run
  local until_then = kernel.monotonic() + seconds
  repeat
    local left = until_then - kernel.monotonic()
    local news, name = course.supervisor:wait(math.min(math.max(left, 0), STEP))
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
  local host, run = require "keel.host", course.run
  local folder = course.options.keep .. "/" .. run.run_id
  for _, path in ipairs { course.options.keep, folder } do
    local made, problem = host.make_directory(path)
    if not made then return nil, ("cannot keep the output in %s: %s"):format(path, problem) end
  end
  if not folder:find "^/" then folder = course.run.kwargs.directory .. "/" .. folder end
  local ok, err = course.store:put(run.run_id, { logs_path = folder, fence = run.fence })
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
  outcome.is_failure, outcome.is_unwritten = true, true
  if outcome.code == 0 then outcome.code = 1 end
end

--- Runs the command of a run that has just been started.
---@param course table
---@return { code: integer, message?: string, interrupted?: boolean } outcome
return function(course)
  local outcome, number = nil, 1
  if course.options.keep then
    local made, problem = make_folder(course)
    if not made then
      outcome = { code = 1, status = "error", error = problem, error_code = "not_started", message = problem,
        is_failure = true }
    end
  end
  while not outcome do
    local last = attempt(course)
    if last.status == "success" or last.hopeless or number >= (course.options.attempts or 1) then
      outcome = last
    else
      outcome = wait_for_next(course, number, last)
      number = number + 1
    end
  end
  write_down(course, outcome)
  if course.unkept then
    io.stderr:write("keel exec: not all of the output could be kept: ", course.unkept, "\n")
  end
  return outcome
end
