--- Where a report is written to: standard output, or a file that is written beside the old one and takes its place when
--- it is whole.
local keel_command = require "keel.command"
local kernel = require "keel.kernel"
local terminal = require "keel.cli.terminal"

local Target = {}
Target.__index = Target

local PRIVATE = tonumber("600", 8) -- what is in a store is its owner's

local function fail(action, path, problem)
  return nil, { code = "io", transient = false, message = ("cannot %s %s: %s"):format(action, path, problem) }
end

--- Opens it.
---@param path string "-": standard output
---@return table? target
---@return keel.Error? err
function Target.new(path)
  if path == "-" then return setmetatable({ _shown = "standard output", bytes = 0 }, Target) end
  local old = keel_command.stat(path)
  if old and old.kind ~= "file" then
    return fail("write", path, "it is no plain file; - writes to standard output")
  end
  local beside = ("%s.%s.part"):format(path, kernel.new_id())
  local file, problem = keel_command.create_file(beside, old and old.mode or PRIVATE)
  if not file then return fail("write", path, problem) end
  return setmetatable({ _path = path, _shown = path, _beside = beside, _file = file, bytes = 0 }, Target)
end

--- Writes a piece.
---@param piece string
---@return true? done
---@return keel.Error? err
function Target:write(piece)
  local ok, problem
  if self._file then ok, problem = self._file:write(piece) else ok, problem = terminal.pass(piece) end
  if not ok then return fail("write", self._shown, problem) end
  self.bytes = self.bytes + #piece
  return true
end

--- Ends it: a file takes its place.
---@return true? done
---@return keel.Error? err
function Target:finish()
  local ok, problem
  if self._file then ok, problem = self._file:close() else ok, problem = io.stdout:flush() end
  self._file = nil
  if ok and self._beside then ok, problem = os.rename(self._beside, self._path) end
  if not ok then return fail("write", self._shown, problem) end
  self._beside = nil
  return true
end

--- Takes away what was not finished.
function Target:close()
  if self._file then self._file:close() end
  if self._beside then os.remove(self._beside) end
  self._file, self._beside = nil, nil
end

Target.__close = Target.close

return Target
