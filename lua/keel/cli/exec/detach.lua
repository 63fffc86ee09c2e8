--- keel exec --detach: the command goes on in a process of its own, which has nothing of the login; who called it waits
--- until the run is in the store, and hears its id, or why there is none.
local kernel = require "keel.kernel"
local keel_command = require "keel.command"
local signals = require "keel.cli.exec.signals"
local terminal = require "keel.cli.terminal"

local function fail(message)
  return nil, { code = "io", message = message, transient = false }
end

-- What the process in the background has told, for who called.
local function hear(given, descriptor, process)
  local text, code = keel_command.told(descriptor, process)
  local answer = text ~= "" and kernel.json.decode(text)
  if not answer then
    if code and code > 128 then return code end -- a signal came before anything was in the store
    return fail "the process in the background has ended before the run was in the store; try again"
  end
  if answer.error then return nil, answer.error end
  if answer.signal == "INT" then keel_command.die_of(signals.fatal.INT) end
  if answer.signal then return signals.outcome(answer.signal).code end
  if given.json then
    terminal.print(terminal.json(answer))
  else
    terminal.print(answer.run_id)
  end
  return 0
end

--- Runs `perform(given, tell)` in the background, to the end of that process: it calls `tell` with the run's id, once
--- it is in the store. Here it returns when that was told: the exit code, or nil and the error.
---@param given table
---@param perform fun(given: table, tell: fun(answer: table)): integer?, keel.Error?
---@return integer? code
---@return keel.Error? err
return function(given, perform)
  local side, descriptor, process = keel_command.detach()
  if not side then return fail("cannot start a process in the background: " .. descriptor) end
  if side == "parent" then return hear(given, descriptor, process) end
  local function tell(answer)
    if descriptor then keel_command.tell(descriptor, terminal.json(answer) .. "\n") end
    descriptor = nil
  end
  local ran, code, err = pcall(perform, given, tell)
  if not ran then code, err = fail(tostring(code)) end
  if err then
    tell { error = { code = err.code, message = err.message, field = err.field, run_id = err.run_id,
      thread_id = err.thread_id, position = err.position, reason = err.reason, transient = err.transient } }
    terminal.say("keel exec: ", terminal.plain(err.message)) -- it is with the output, if there is any by now
  end
  os.exit(code or 1) -- whatever else who called has to do, is not for this process
end
