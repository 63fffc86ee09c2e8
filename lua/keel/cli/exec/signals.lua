--- The signals that end most programs, and how `keel exec` ends by one that comes while no command runs to hear it.
local keel_command = require "keel.command"
local kernel = require "keel.kernel"
local terminal = require "keel.cli.terminal"

local signals = {}

local MOMENT = 0.2 -- seconds that a locked store gets after a signal

--- Their numbers by name. The others (USR1, …) are only passed on.
---@type table<string, integer>
signals.fatal = { HUP = 1, INT = 2, QUIT = 3, TERM = 15 }

--- The end by a signal: the exit code a shell would tell, and for SIGINT that we die of it, so that a script stops.
---@param name string One of `fatal`.
---@return { code: integer, interrupted: boolean } outcome
function signals.outcome(name)
  return { code = 128 + signals.fatal[name], interrupted = name == "INT" }
end

-- Does with a signal what is to be done at once: the command hears it, if one runs.
local function pass_on(course, name, is_keyboard, is_passed)
  local supervisor = course.supervisor
  if not course.watches then return end
  if not is_passed then supervisor:signal(name, false, is_keyboard) end
  if not signals.fatal[name] then return end
  course.signalled = name
  if not is_passed then supervisor:signal "CONT" end -- what is stopped would not hear it
end

--- Waits for news of the supervisor, and passes signals on to the command while it is watched.
---@param course table
---@param seconds number
---@param descriptor? integer
---@return "signal"|"ended"|"left"|"ready"|nil news
---@return string? name of the signal
function signals.wait(course, seconds, descriptor)
  local news, name, is_keyboard, is_passed = course.supervisor:wait(seconds, descriptor)
  if news == "signal" then pass_on(course, name, is_keyboard, is_passed) end
  return news, name
end

-- Ends us by a signal that comes while the store cannot be written.
local function give_up(course, name)
  local outcome = signals.outcome(name)
  if course.outcome then
    terminal.say("keel exec: the outcome (", course.outcome.status, ") could not be written down: SIG", name,
      " came while the store was busy")
  end
  course.supervisor:close()
  if outcome.interrupted then keel_command.die_of(signals.fatal.INT) end
  os.exit(outcome.code)
end

--- How the store waits, for a lock or before another try: signals are heard meanwhile. When no command is there to hear
--- one, it is time to leave, and the store has a moment left for it to be written down.
---@param course table
---@return fun(seconds: number)
function signals.sleeper(course)
  return function(seconds)
    local until_then = kernel.monotonic() + seconds
    repeat
      local left = math.max(until_then - kernel.monotonic(), 0)
      local news, name = signals.wait(course, left)
      if news == "signal" and signals.fatal[name] and not course.watches and not course.leaving then
        course.leaving, course.leave_at = name, kernel.monotonic() + MOMENT
      end
      if course.leaving and kernel.monotonic() >= course.leave_at then give_up(course, course.leaving) end
    until kernel.monotonic() >= until_then
  end
end

return signals
