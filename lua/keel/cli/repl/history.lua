--- What was typed at prompts, kept across sessions: a file of its own, an entry a line.
local keel_command = require "keel.command"
local state = require "keel.cli.state"

local LOADED = 1000       -- entries
local ENTRY = 16 * 1024   -- bytes: what is longer is not kept

local history = {}
history.__index = history

local function encode(entry)
  return (entry:gsub("\\", "\\\\"):gsub("\n", "\\n"))
end

local function decode(line)
  return (line:gsub("\\(.)", function(c) return c == "n" and "\n" or c end))
end

--- Finds the user's history.
---@return table history `entries` is a list, the oldest first
function history.open()
  local folder = state.directory()
  local self = setmetatable({ entries = {}, _path = folder and folder .. "/history", _folder = folder }, history)
  local about = self._path and keel_command.stat(self._path)
  local file = about and about.kind == "file" and io.open(self._path, "r")
  if not file then return self end
  local lines = {}
  for line in file:lines() do lines[#lines + 1] = line end
  file:close()
  for i = math.max(1, #lines - LOADED + 1), #lines do
    if not lines[i]:find "%z" then self.entries[#self.entries + 1] = decode(lines[i]) end
  end
  return self
end

--- Keeps an entry, unless it is the last one again, begins with a space, or is very long.
---@param entry string
---@return boolean? kept
---@return string? problem
function history:add(entry)
  if entry == self._last or entry:find "^%s" or entry == "" or #entry > ENTRY or entry:find "%z" then return false end
  self._last = entry
  if not self._path then return nil, "there is no HOME to keep the history in" end
  local made, problem = state.make_directories(self._folder)
  if made then made, problem = keel_command.append_line(self._path, encode(entry)) end
  if not made then return nil, ("cannot keep the history in %s: %s"):format(self._path, problem) end
  return true
end

return history
