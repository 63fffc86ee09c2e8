--- Long output at the prompt goes through the user's pager.
local keel_command = require "keel.command"
local state = require "keel.cli.state"
local terminal = require "keel.cli.terminal"
local width = require "keel.cli.width"

-- How many rows a text takes on a terminal.
local function rows_of(text, columns)
  local rows = 0
  for line in text:gmatch "([^\n]*)\n" do rows = rows + math.max(1, math.ceil(width.of(line) / columns)) end
  return rows
end

-- A pager that is left early must not end the prompt: it reads a file, and no pipe.
local function page(pager, text)
  local path = os.tmpname()
  local file = io.open(path, "w")
  local written = file and file:write(text)
  if file then written = file:close() and written end
  local ok = written and os.execute(("%s <'%s'"):format(pager, path))
  os.remove(path)
  return ok
end

--- Calls a function that prints; when that is more than the terminal has rows, it goes through $PAGER, if there is one.
---@param fn function
return function(fn, ...)
  local pager = state.given "PAGER"
  if not pager or not keel_command.is_terminal(0) or not keel_command.is_terminal(1) then return fn(...) end
  local columns, rows = keel_command.size()
  local text, failure = terminal.captured(fn, ...)
  if not columns or not rows or rows_of(text, columns) < rows or not page(pager, text) then terminal.show(text) end
  if failure then error(failure[1], 0) end
end
