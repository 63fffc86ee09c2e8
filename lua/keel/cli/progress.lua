--- A progress bar on standard error: only on a terminal, and only for those who want to hear.
local keel_command = require "keel.command"

local Progress = {}
Progress.__index = Progress

local CELLS = 30

local function bar(share)
  local full = math.floor(share * CELLS + 0.5)
  return ("[%s%s]"):format(("#"):rep(full), ("."):rep(CELLS - full))
end

--- A bar. It appears with the first `show`, and is gone after `close`.
---@param options { quiet?: boolean, json?: boolean }
---@param label string
---@return table progress
function Progress.new(options, label)
  local is_wanted = not options.quiet and not options.json and keel_command.is_terminal(2)
  return setmetatable({ label = label, is_wanted = is_wanted, shown = nil }, Progress)
end

--- Shows how much of how much is done.
---@param done number
---@param total number
function Progress:show(done, total)
  if not self.is_wanted then return end
  local share = total > 0 and math.min(math.max(done / total, 0), 1) or 1
  local line = ("%s %s %3d%%"):format(self.label, bar(share), math.floor(share * 100))
  if line == self.shown then return end
  self.shown = line
  io.stderr:write("\r", line, "\27[K")
end

--- Shows how far a backup or verify of the store has come, until the bar is closed.
---@param store keel.Store
function Progress:watch(store)
  if not self.is_wanted then return end
  self.store = store
  store:watch(function(done, total) self:show(done, total) end)
end

--- Takes the bar off the screen.
function Progress:close()
  if self.store then self.store:watch() end
  self.store = nil
  if self.shown then io.stderr:write "\r\27[K" end
  self.shown = nil
end

Progress.__close = Progress.close

return Progress
