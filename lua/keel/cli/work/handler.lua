--- What `keel work` does with a run whose work is a command.
local child = require "keel.cli.work.child"
local kept = require "keel.cli.kept"
local output = require "keel.cli.output"
local readable = require("keel.errors").readable
local terminal = require "keel.cli.terminal"
local words = require "keel.cli.exec.words"

local BUSY = 0.05 -- seconds before another try at writing where the output is
local AGAIN, AGAIN_MAX = 1, 60 -- seconds until what could not be begun here is tried again, twice as long each time

-- What has nothing to do with the command (no descriptors left, a full disk, a server that is away) spends no attempt:
-- the run is given back for a while. It is said once, until a command could be begun again.
local function put_off(work, context, problem)
  work.trouble = math.min(work.trouble and work.trouble * 2 or AGAIN, AGAIN_MAX)
  if work.trouble == AGAIN then
    terminal.say("keel work: no command can be begun now, they are tried again later: ", terminal.plain(problem))
  end
  return context.snooze(work.trouble)
end

local function not_started(text)
  return { status = "error", error = readable(text), error_code = "not_started", exit_code = 1 }
end

-- Why this is no command that can be run.
local function problem_with(kwargs)
  if not words.is_kept(kwargs) then return "kwargs.command must be a list of texts, the words of a command" end
  local command, directory = words.restored(kwargs)
  if (table.concat(command) .. (directory or "")):find("\0", 1, true) then
    return "the command has a zero byte, which no command can have"
  end
end

-- Tells the run where its output is.
local function tell_place(work, context, folder)
  local run = context.run
  while true do
    local ok, err = work.store:put(run.run_id, { logs_path = readable(folder), fence = run.fence })
    if ok then return true end
    if err.code ~= "busy" or not context.sleep(BUSY) then return nil, tostring(err) end
  end
end

-- Runs the command to its end. Returns its outcome, as attempt.lua gives it; nil and why, when it could not be begun.
local function run_command(work, context, folder)
  local run, thread = context.run, coroutine.running()
  local kwargs, is_over, waits, outcome = run.kwargs, false, false, nil
  local lock = work.store:session_descriptor()
  local process, problem = child.start(work.uv, { command = kwargs.command, directory = kwargs.directory,
    escaped = kwargs.escaped, folder = folder, grace = work.grace }, { null = work.null, lock = lock }, function(said)
      is_over, outcome = true, said
      if waits then assert(coroutine.resume(thread)) end
    end)
  if not process then return nil, "cannot start a process: " .. problem end
  work.trouble = nil
  work.children[process] = true
  run.abort_event:on_set(function() process:stop() end)
  waits = true
  while not is_over do coroutine.yield() end
  waits = false
  work.children[process] = nil
  return outcome or { status = "error", error = "its supervisor was killed, and it with it", exit_code = 137 }
end

-- What is said of an attempt that was stopped: only a success is one all the same, if it is the worker that stops.
local function stopped(run, outcome)
  if run.abort_action == "shutdown" then
    if outcome.exit_code == 0 then return { status = "success", exit_code = 0 } end
    return nil, { code = "cancelled", message = "the worker stops" }
  end
  if run.abort_action == "rollback" then
    return { status = "error", error = "rolled back", exit_code = outcome.exit_code }
  end
  return { status = "interrupted", stop_reason = "cancelled", exit_code = outcome.exit_code }
end

-- What an attempt came to, as a handler says it: an attempt that has failed is tried again, by an error.
local function verdict(context, outcome)
  local run = context.run
  if context.cancelled() then return stopped(run, outcome) end
  local may_retry = (run.attempt or 1) < (run.max_attempts or 1)
  if outcome.status == "error" and not outcome.hopeless and may_retry then
    context.event { kind = "attempt_failed",
      data = { attempt = run.attempt, exit_code = outcome.exit_code, error = outcome.error } }
    return nil, { code = "error", message = outcome.error }
  end
  return { status = outcome.status, exit_code = outcome.exit_code, error = outcome.error,
    error_code = outcome.error_code, stop_reason = outcome.stop_reason }
end

--- The handler.
---@param work table store, uv, null, parent, grace, children, given
---@return fun(context: keel.Context): any, any
return function(work)
  local function tell(word, run, text, exit_code)
    if work.given.quiet then return end
    if work.given.json then
      output.json { status = word, run_id = run.run_id, thread_id = run.thread_id, attempt = run.attempt,
        exit_code = exit_code, error = word ~= "running" and text or nil }
    else
      local line = ("%s  %s  %s  %s"):format(output.paint(word), run.run_id, output.plain(run.thread_id),
        output.plain(text))
      terminal.print((line:gsub(" +$", "")))
    end
    io.stdout:flush()
  end
  return function(context)
    local run = context.run
    local problem = problem_with(run.kwargs)
    if problem then return not_started(problem) end
    local folder, err = kept.make(work.parent, run.run_id)
    if not folder then return put_off(work, context, err.message) end
    local told
    told, problem = tell_place(work, context, folder)
    if not told and context.cancelled() then return nil, problem end
    if not told then return put_off(work, context, problem) end
    tell("running", run, words.quoted((words.restored(run.kwargs))))
    local outcome
    outcome, problem = run_command(work, context, folder)
    if not outcome then return put_off(work, context, problem) end
    local result, failure = verdict(context, outcome)
    local status = result and result.status or context.cancelled() and "interrupted" or "error"
    tell(status, run, result and result.error or failure and failure.message, outcome.exit_code)
    return result, failure
  end
end
