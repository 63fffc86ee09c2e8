--- The signals that end most programs, and how `keel exec` ends by one that comes while no command runs to hear it.
local signals = {}

--- Their numbers by name. The others (USR1, …) are only passed on.
---@type table<string, integer>
signals.fatal = { HUP = 1, INT = 2, QUIT = 3, TERM = 15 }

--- The end by a signal: the exit code a shell would tell, and for SIGINT that we die of it, so that a script stops.
---@param name string One of `fatal`.
---@return { code: integer, interrupted: boolean } outcome
function signals.outcome(name)
  return { code = 128 + signals.fatal[name], interrupted = name == "INT" }
end

return signals
