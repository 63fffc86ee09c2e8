--- A question to the user before something that cannot be taken back.
local keel_command = require "keel.command"

--- Asks, and waits for a line. Only who says yes means yes.
---@param question string
---@return boolean? agreed nil: there is nobody to ask
return function(question)
  if not (keel_command.is_terminal(0) and keel_command.is_terminal(2)) then return nil end
  io.stderr:write(question, " [y/N] ")
  io.stderr:flush()
  local answer = io.stdin:read "l"
  return answer ~= nil and answer:lower():find "^%s*y" ~= nil
end
