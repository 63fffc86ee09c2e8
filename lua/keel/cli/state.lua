--- The folder of the user in which programs keep what should outlive a restart, by the XDG base directory
--- specification.
local keel_command = require "keel.command"

local state = {}

local ENOENT = 2

--- An environment variable, if it says anything.
---@param name string
---@return string?
function state.given(name)
  local value = os.getenv(name)
  return value ~= "" and value or nil
end

--- The folder for what Keel keeps; it need not be there. Nil when the user has no home.
---@return string? path
function state.directory()
  local home, base = state.given "HOME", state.given "XDG_STATE_HOME"
  -- The specification has a relative path ignored: every folder would have a state of its own.
  if not base or not base:find "^/" then base = home and home .. "/.local/state" end
  return base and base .. "/keel"
end

--- Makes a directory and those above it, 0700.
---@param path string
---@return boolean? done
---@return string? problem
function state.make_directories(path)
  local made, problem, number = keel_command.make_directory(path)
  local parent = path:match "^(.+)/[^/]+$"
  if not made and number == ENOENT and parent then
    made, problem = state.make_directories(parent)
    if made then made, problem = keel_command.make_directory(path) end
  end
  return made, problem
end

return state
