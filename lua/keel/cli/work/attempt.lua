--- The process between `keel work` and a command: one for each attempt, as `keel exec` is for its own.
---
--- Descriptor 3 leads to `keel work`: a line of JSON comes, which says what is to be run, and one goes, which says how
--- it ended. Before that, and whenever it is another, the session's lock comes with "hold"; "end" and "kill" may come.
--- When `keel work` is gone, so is this, and the guardian ends the command.
local kept = require "keel.cli.kept"
local kernel = require "keel.kernel"
local keel_command = require "keel.command"
local outcomes = require "keel.cli.exec.outcome"
local signals = require "keel.cli.exec.signals"
local terminal = require "keel.cli.terminal"
local watch = require "keel.cli.exec.watch"
local words = require "keel.cli.exec.words"

local CHANNEL = 3
local STEP = 0.05

-- What `keel work` says while the command runs.
local function look_for_order(course)
  local line, extra = keel_command.hear(CHANNEL)
  if not line and extra then os.exit(1) end -- it is gone
  if not line then return end
  if line == "hold" then
    if extra then course.supervisor:hold(extra) end
    return
  end
  if line == "kill" then course.options.grace = 0 end
  if course.ending and line == "kill" then course.ending.kill_at = 0 end
  watch.begin_ending(course, "asked")
end

-- Lets what the command said reach the file.
local function drain(course)
  local until_then = kernel.monotonic() + watch.grace(course)
  while course.supervisor:is_saying() and kernel.monotonic() < until_then do signals.wait(course, STEP) end
  local unkept = course.supervisor:output()
  if unkept then terminal.say("keel work: not all of the output could be kept: ", unkept) end
end

local function run(order, supervisor, lock)
  local course = { supervisor = supervisor, options = { command = order.command, grace = order.grace },
    channel = CHANNEL, look_for_stop = look_for_order }
  if lock then supervisor:hold(lock) end
  local path = order.folder .. "/output"
  local started, problem = supervisor:start(path, path,
    { is_hidden = true, takes_errors = true, part_size = kept.part_size })
  if not started then
    return outcomes.not_started(1, ("cannot keep the output in %s: %s"):format(order.folder, problem))
  end
  watch.wait(course, math.huge)
  local failed = outcomes.failed_to_start(course)
  drain(course)
  if failed then return failed end
  if course.ending and course.ending.why == "asked" then
    return outcomes.stopped(course, (select(3, supervisor:result())))
  end
  return outcomes.judge(course, course.ending and course.ending.why)
end

-- Goes where the command is to run, and watches over it. The guardian is forked while nothing else is open. Should this
-- be killed, `keel work` sees the end of the channel when nothing of the command is left.
local function attempt(order, lock)
  local directory = order.directory or "/"
  local moved, problem = keel_command.change_directory(directory)
  if not moved then return outcomes.not_started(1, ("cannot go to %s: %s"):format(directory, problem)) end
  local supervisor <close>, failure = keel_command.supervise(order.command, CHANNEL)
  if not supervisor then return outcomes.not_started(1, "cannot watch over a command: " .. failure) end
  return run(order, supervisor, lock)
end

--- Runs one command, as it is told.
---@return integer exit_code
return function()
  local text, lock = keel_command.hear(CHANNEL, true)
  if text == "hold" then text = keel_command.hear(CHANNEL, true) end
  local order = text and kernel.json.decode(text)
  if type(order) ~= "table" then return 2 end -- nobody but `keel work` calls this
  order.command, order.directory = words.restored(order)
  local outcome = attempt(order, lock)
  outcome.message, outcome.is_failure = nil, nil
  keel_command.tell(CHANNEL, terminal.json(outcome) .. "\n")
  return 0
end
