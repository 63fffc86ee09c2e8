--- The outcome of an attempt: the fields of the run's completion, the exit code for who called, and what is said of it.
local output = require "keel.cli.output"
local readable = require("keel.errors").readable
local words = require "keel.cli.exec.words"

local ENOENT = 2

local M = {}

--- The outcome of a run that somebody asked to stop or took away, with the exit code the command left.
function M.stopped(course, exit_code)
  local outcome = { code = exit_code ~= 0 and exit_code or 143, exit_code = exit_code, status = "interrupted",
    hopeless = true, message = "the run was asked to stop" }
  if course.lost then
    outcome.message = "the run was taken over by somebody else"
  elseif course.asked == "rollback" then
    outcome.status, outcome.error = "error", "rolled back"
  end
  return outcome
end

--- The outcome when there was no command to watch over.
function M.not_started(code, text)
  return { code = code, message = text, status = "error", error = readable(text), error_code = "not_started",
    exit_code = code, hopeless = true, is_failure = true }
end

--- The outcome of a command that could not be run; nil: it was.
function M.failed_to_start(course)
  local problem, number, step = course.supervisor:failure()
  if not problem then return nil end
  local name = course.options.command[1]
  if step ~= "exec" then
    return M.not_started(1, ("cannot watch over a command: %s: %s"):format(step, problem))
  end
  return M.not_started(number == ENOENT and 127 or 126, ("cannot run %s: %s"):format(words.quoted { name }, problem))
end

--- What the command's end says: the outcome of an attempt that nobody ended from here, but for the timeout.
function M.judge(course, why)
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

return M
