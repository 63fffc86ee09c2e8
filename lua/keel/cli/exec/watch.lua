--- Watches over a command: until it and what it leaves have ended, and sees to that where it has to.
local kernel = require "keel.kernel"
local signals = require "keel.cli.exec.signals"
local terminal = require "keel.cli.terminal"

local STEP = 0.05       -- seconds between looks at whether the run was asked to stop
local PATIENCE = 5      -- seconds between looks at a command that is heard of
local SHORT_STEP = 0.01 -- the same while something is being ended
local GRACE = 5

local M = {}

-- A signal for the command and its family; for daemons too, unless the command came to its end by itself.
local function signal_all(course, name)
  course.supervisor:signal(name, course.ending.why ~= "left over")
end

-- What is stopped has to go on to hear of it.
local function terminate(course)
  signal_all(course, course.options.stop_signal or "TERM")
  signal_all(course, "CONT")
end

--- Seconds between the first signal and SIGKILL.
function M.grace(course) return course.options.grace or GRACE end

--- Ends the command's family: SIGTERM, or --stop-signal, now, SIGKILL after the grace.
---@param course table
---@param why "asked"|"lost"|"timeout"|"signal"|"left over"
function M.begin_ending(course, why)
  if course.ending then return end
  course.ending = { why = why, kill_at = kernel.monotonic() + M.grace(course) }
  terminate(course)
end

--- From here on, the session is there for as long as anything of the command is, whatever becomes of us. A connection
--- to a server that was lost and made anew is another session.
function M.hold_session(course)
  local session = course.store:session_id()
  if not session or session == course.held then return end
  local lock = course.store:session_descriptor()
  if lock then course.supervisor:hold(lock) end
  course.held = session
end

--- Whether somebody asked the run to stop, or took it away: then its end has begun. Looks into the store only when
--- there is news.
function M.look_for_stop(course)
  local store, run = course.store, course.run
  local has_news, failure = store:wait_events(course.cursor, { timeout = 0 })
  if failure then
    if not failure.transient then course.cursor = nil end -- of a store that was restored, say
    return
  end
  M.hold_session(course)
  if course.cursor and not has_news then return end
  local page = store:read_events(course.cursor, 256, { run_id = run.run_id })
  if not page then return end
  local is_first = course.cursor == nil or page.gap -- a request may be among what was pruned
  course.cursor = page.cursor
  if #page.events == 0 and not is_first then return end
  local report = course.manager:heartbeat()
  if not report then return end
  for _, record in ipairs(report.cancel_requested) do
    if record.run_id == run.run_id then
      course.asked = record.cancel_action
      M.begin_ending(course, "asked")
    end
  end
  for _, record in ipairs(report.lost) do
    if record.run_id == run.run_id then
      course.lost = true
      M.begin_ending(course, "lost")
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

-- How long to wait for news, while nothing is being ended: what comes by a descriptor need not be looked for.
local function patience(course)
  return course.channel and PATIENCE or STEP
end

--- Waits for the end of the command, and of what it leaves. Nothing is written down before that: the thread is not
--- free. Whether somebody stops it is looked for in the store; by `look_for_stop` of the course when that has one, and
--- when its descriptor `channel` can be read.
---@param course table
---@param deadline number of the monotonic clock: then the command is ended
function M.wait(course, deadline)
  local supervisor, ended = course.supervisor, false
  course.watches = true
  while true do
    if not ended and supervisor:has_ended() then
      ended = true
      repeat until signals.wait(course, 0) ~= "signal" -- one that came together with the end
      if is_stopped_by_signal(course) then M.begin_ending(course, "signal") end
      if waited_for(course) > 0 then
        -- Also what was started after the first SIGTERM, by the command's handler of it.
        if course.ending then terminate(course) else M.begin_ending(course, "left over") end
      end
    end
    if ended and waited_for(course) == 0 then break end
    local now = kernel.monotonic()
    if not ended and now >= deadline then M.begin_ending(course, "timeout") end
    if course.ending and now >= course.ending.kill_at then
      course.ending.kill_at = now + STEP -- again, for what was made meanwhile
      signal_all(course, "KILL")
    end
    tell_refusal(course)
    local step = (ended or course.ending) and SHORT_STEP or patience(course)
    local news = signals.wait(course, math.min(step, math.max(deadline - now, 0.001)), course.channel)
    if news == "ready" then
      course:look_for_stop()
    elseif not news and not ended and not course.channel then
      M.look_for_stop(course)
    end
  end
  course.watches = false
end

return M
