--- keel exec: runs a command as a durable run.
---
--- The strategy decides what happens when the thread is busy. The run is in the store before the command starts, and
--- its outcome is before the exit code is passed on; killed at any moment in between, it is an orphan at once, and the
--- command does not outlive it.
local check = require "keel.check"
local gate = require "keel.cli.gate"
local keel_command = require "keel.command"
local kernel = require "keel.kernel"
local opening = require "keel.cli.opening"
local readable = require("keel.errors").readable
local signals = require "keel.cli.exec.signals"
local terminal = require "keel.cli.terminal"
local usage = require "keel.cli.usage"
local words = require "keel.cli.exec.words"

local json = kernel.json

-- An object of JSON.
local function object(text)
  local value, err = json.decode(text)
  if value == nil and err then
    return nil, ("'%s' is no JSON: %s; write {\"name\": value}"):format(text, err.message:gsub("^text ", ""))
  end
  if not text:find "^%s*{" then return nil, ("'%s' is no JSON object; write {\"name\": value}"):format(text) end
  return value
end

-- NAME=VALUE; numbers, true and false are what they look like.
local function assignment(text)
  local name, value = text:match "^([%w_-]+)=(.*)$"
  if not name then return nil, ("'%s' is not NAME=VALUE; write max=3"):format(text) end
  if tonumber(value) then value = tonumber(value) end
  if value == "true" or value == "false" then value = value == "true" end
  return { name = name:gsub("-", "_"), value = value }
end

-- How long a command may take. None would be no time at all.
local function time_limit(text)
  local seconds, problem = usage.duration(text)
  if seconds ~= 0 then return seconds, problem end
  return nil, ("'%s' leaves it no time; leave the option out for no limit, or write 30, 1.5s, 10m"):format(text)
end

-- Those that a program may be asked to end by.
local stop_signals = { "TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "KILL", "ABRT", "ALRM", "PIPE", "CONT", "WINCH" }

-- The name of a signal, with or without SIG.
local function signal_name(text)
  local name = text:upper():gsub("^SIG", "")
  for _, known in ipairs(stop_signals) do
    if known == name then return name end
  end
  return nil, ("'%s' is no signal to end by; write %s"):format(text, table.concat(stop_signals, ", "))
end

local function shell_command(text)
  if text:find "^%s*$" then return nil, "it needs a command for the shell" end
  return text
end

local function folder(text)
  if text == "" then return nil, "it needs the name of a folder" end
  return text
end

local options = {
  { "--detach", "-d", about = "put it in line, print the run's id and come back; its output is kept, for"
    .. " 'keel runs output'" },
  { "--thread", "-t", value = "KEY", about = "what the command needs for itself; default: the command itself" },
  { "--strategy", "-s", value = "NAME|FILE",
    about = "what happens when the thread is busy: reject (default), enqueue, interrupt, … or a script" },
  { "--set", value = "NAME=VALUE", many = true, convert = assignment,
    about = "an option of the strategy, such as max=3 or max_waiting=10" },
  { "--wait", "-w", value = "TIME", convert = usage.duration,
    about = "wait in line no longer than this, then give up with 75 (default: as long as it takes)" },
  { "--timeout", value = "TIME", convert = time_limit,
    about = "end an attempt with SIGTERM after this time, exit code 124 (default: no limit)" },
  { "--grace", value = "TIME", convert = usage.duration,
    about = "seconds between SIGTERM and SIGKILL (default 5)" },
  { "--stop-signal", value = "SIGNAL", convert = signal_name,
    about = "what is sent in place of SIGTERM: INT, QUIT, USR1, …" },
  { "--attempts", value = "N", convert = usage.integer(1), about = "try up to N times, until it exits with 0" },
  { "--delay", value = "TIME", convert = usage.duration,
    about = "wait before the second attempt, twice as long before each further one (default 1)" },
  { "--until", value = "success", convert = function(text)
    if text == "success" then return text end
    return nil, ("'%s' is nothing to run until; write --until success"):format(text)
  end, about = "with --key: run again while no run of this key has succeeded" },
  { "--key", value = "K", about = "run once for this key; afterwards the first outcome is given again" },
  { "--user", value = "U", about = "the user it is for" },
  { "--priority", value = "N", convert = usage.integer(math.mininteger), about = "its place in the queue (default 0)" },
  { "--metadata", value = "JSON", convert = object, about = "an object that is kept with the run" },
  { "--keep", value = "DIR", convert = folder,
    about = "keep all of the output in DIR/RUN/stdout and stderr; shown as logs_path" },
  { "--quiet-unless-failed", about = "show the output only when the command has failed" },
  { "--notify", value = "COMMAND", convert = shell_command,
    about = "when the run has ended, have the shell run this, with the run as JSON on its standard input" },
}
table.move(gate.options, 1, #gate.options, #options + 1, options)

-- The strategy: a name, or what a file makes of a sandbox.
local function strategy_of(wanted)
  if not wanted or not wanted:find "[/.]" then return wanted end
  local policy, err = require("keel.policy.loaded").load(wanted)
  if not policy then return nil, usage.error(err.message) end
  return policy
end

-- The options that the strategy is given; nil: none.
local function set_of(given)
  local set = {}
  for _, assigned in ipairs(given.set or {}) do set[assigned.name] = assigned.value end
  return next(set) and set or nil
end

-- The thread that was named, or one for this very command.
local function thread_of(given, fingerprint)
  return given.thread or
    ("exec/%s-%s"):format(check.fit_id(readable(given.command[1]:match "([^/]*)/*$"), 64), fingerprint:sub(1, 12))
end

-- What is asked of admission.
local function request_of(given, when, directory)
  local asked = words.kept(given.command, directory)
  local fingerprint = kernel.sha256(assert(json.encode(asked)))
  return thread_of(given, fingerprint), { kwargs = asked, metadata = given.metadata, fingerprint = fingerprint,
    user_id = given.user, idempotency_key = given.key, idempotency_until = given["until"], retry_of = given.retry_of,
    priority = given.priority, max_attempts = given.attempts, after = when.after, scheduled_at = when.scheduled_at,
    slots = when.slots, rates = when.rates }
end

-- Before anything is made. What a strategy from a file takes is its own affair.
local function check_set(strategy, set)
  if not set then return true end
  local policies = require "keel.policy"
  local policy = policies.find("strategies", strategy)
  if not policy then return true end -- admission tells which there are
  local misuse, err = policies.check_options(policy, set)
  if not misuse and not err then return true end
  return nil, usage.error("option '--set': " .. (misuse or err.message))
end

-- Tells how it ended: the run as JSON, or a line when there is something to say.
local function report(record, outcome, given)
  if given.detach then
    if outcome.unwritten then terminal.say("keel exec: ", terminal.plain(outcome.message)) end
  elseif given.json then
    if record then terminal.say(terminal.json(require("keel.cli.shape").fields(record))) end
    if outcome.unwritten then
      local failure = { code = outcome.unwritten, message = outcome.message, transient = false }
      terminal.say(terminal.json { error = failure })
    end
  elseif outcome.message and (outcome.is_failure or not given.quiet) then
    terminal.say("keel exec: ", terminal.plain(outcome.message))
  end
end

-- Has somebody told how it ended. Whatever becomes of that changes nothing.
local function notify(shell, record)
  local fields = require("keel.cli.shape").fields(record)
  local code, problem = keel_command.feed(shell, terminal.json(fields) .. "\n")
  if code == 0 then return end
  terminal.say("keel exec: --notify ", terminal.plain(words.quoted { shell }), " has failed: ",
    problem or "exit code " .. code)
end

-- The run is in the store: who called goes on with its id, unless he has given up meanwhile. Returns the outcome then.
local function acknowledge(course, tell, is_reused)
  local run_id = course.run.run_id
  if is_reused then return tell { run_id = run_id, reused = true } end
  local line = require "keel.cli.exec.line"
  local made, err = require("keel.cli.exec.output").make(course)
  if not made then
    course.manager:set_status(run_id, "error", { error = err.message })
    return nil, err
  end
  local news, name = signals.wait(course, 0)
  if news ~= "signal" or not signals.fatal[name] then name = course.leaving end
  if not name then return tell { run_id = run_id } end
  err = line.leave(course, "SIG" .. name)
  if err then return nil, err end
  tell { signal = name }
  return signals.outcome(name)
end

-- Waits in line and runs the command. `tell` is called once the run is in the store, if somebody waits only for that.
local function perform(given, when, set, tell)
  -- The guardian is forked first: there is little to copy, and no store is open yet.
  local supervisor <close>, problem = keel_command.supervise(given.command)
  if not supervisor then
    return nil, { code = "io", message = "cannot watch over a command: " .. problem, transient = false }
  end
  local directory = keel_command.directory() or keel_command.last_directory()
  local thread, request = request_of(given, when, directory)
  local strategy, err = strategy_of(given.strategy)
  if err then return nil, err end
  request.multitask_strategy, request.strategy_options = strategy, set

  local course = { supervisor = supervisor, directory = directory, options = given }
  local store <close>, failure = opening.store(given, "make", signals.sleeper(course))
  if not store then return nil, failure end
  local settled, unclear = gate.settle(store, request.after)
  if not settled then return nil, unclear end
  course.store = store
  local ready
  ready, err = require("keel.cli.exec.output").prepare(course)
  if not ready then return nil, err end
  local manager = require("keel.manager").new { store = store }
  local admitted, verdict = manager:create_or_reject(thread, request)
  if not admitted then return nil, gate.advised(verdict) end
  course.manager, course.run = manager, admitted
  local outcome
  if tell then
    outcome, err = acknowledge(course, tell, verdict == "reused")
    if err then return nil, err end
    if outcome or verdict == "reused" then return outcome and outcome.code or 0 end
  end
  if verdict == "reused" then
    outcome, err = require("keel.cli.exec.line").follow(course)
  else
    outcome, err = require("keel.cli.exec.line").wait(course)
    if outcome == true then outcome, err = require "keel.cli.exec.course"(course) end
    if given.quiet_unless_failed and outcome and outcome.code ~= 0 then require("keel.cli.exec.output").show(course) end
  end
  local record = manager:get(admitted.run_id)
  if outcome then report(record, outcome, given) end
  supervisor:close()
  store:close()
  if given.notify and verdict ~= "reused" and record then notify(given.notify, record) end
  if not outcome then return nil, err end
  if outcome.interrupted then keel_command.die_of(signals.fatal.INT) end
  return outcome.code
end

local function run(given)
  if #given.command == 0 then
    return nil, usage.error "which command? Write: keel exec [OPTION …] -- COMMAND [ARGUMENT …]"
  end
  local when, unfit = gate.asked(given)
  if not when then return nil, unfit end
  if given.detach and given.quiet_unless_failed then
    return nil, usage.error "--quiet-unless-failed is for the foreground: --detach shows nothing anyway"
  end
  local set = set_of(given)
  local right, wrong = check_set(given.strategy or "reject", set)
  if not right then return nil, wrong end
  if not given.detach then return perform(given, when, set) end
  return require "keel.cli.exec.detach"(given, function(asked, tell) return perform(asked, when, set, tell) end)
end

return {
  about = "Runs a command as a durable run: it is in the store before it starts, and so is its outcome. "
    .. "Whether it may start, waits or interrupts what runs on the same thread is decided by the strategy.",
  more = [[
Standard input, output, error and signals are the command's, and so is the exit code; 75: the thread was busy, or it was
not started; 124: timed out; 126, 127: the command cannot be run, or was not found; 128 and more: ended by a signal.

What the command leaves running is ended with it; a daemon that calls setsid is on its own, unless the command was ended
from outside.]],
  usage = "[OPTION …] [--] COMMAND [ARGUMENT …]",
  options = options,
  takes_command = "command",
  run = run,
  stop_signals = stop_signals,
  strategy_of = strategy_of,
  thread_of = thread_of,
  set_of = set_of,
  check_set = check_set,
}
