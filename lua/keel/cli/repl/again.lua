--- What the prompt runs again, or anew: watch(seconds, fn) and edit().
local chunk = require "keel.cli.repl.chunk"
local keel_command = require "keel.command"
local state = require "keel.cli.state"
local terminal = require "keel.cli.terminal"

local again = {}

local LEAST = 0.1 -- seconds

--- Calls a function again and again until Ctrl-C.
---@param seconds number between two calls
---@param fn function
---@param show fun(results: table) what it gives, from table.pack
function again.watch(seconds, fn, show)
  if type(seconds) ~= "number" or not (seconds >= LEAST and seconds < math.huge) then
    error(("bad argument #1 to 'watch' (a number of seconds from %s up expected)"):format(LEAST), 3)
  end
  if type(fn) ~= "function" then
    error(("bad argument #2 to 'watch' (function expected, got %s)"):format(type(fn)), 3)
  end
  while true do
    show(table.pack(fn()))
    io.stdout:flush()
    keel_command.sleep(seconds)
  end
end

-- A text as a shell takes it for one word.
local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- Writes a text into a file of our own for an editor, and gives what is saved; nil and a problem.
local function edited(text)
  local editor = state.given "VISUAL" or state.given "EDITOR" or keel_command.is_terminal(0) and "vi"
  if not editor then return nil, "there is no terminal, nor an $EDITOR that could do without" end
  local path = os.tmpname() -- made, so that nobody else makes it
  local file, problem = io.open(path, "w")
  if file then
    file:write(text, text:find "\n$" and "" or "\n")
    file:close()
    local ok, how, code = os.execute(editor .. " " .. quoted(path))
    if not ok then problem = ("%s has ended with %s %d"):format(editor, how, code) end
    file = ok and io.open(path, "r")
  end
  local saved = file and file:read "a"
  if file then file:close() end
  os.remove(path)
  return saved, problem
end

--- Opens an editor with a chunk, and runs what was saved.
---@param text string
---@param remember fun(text: string) keeps it with what was typed
---@return any ... what it gives
function again.edit(text, remember)
  local saved, problem = edited(text)
  if not saved then error("nothing was run: " .. tostring(problem), 3) end
  saved = saved:gsub("%s+$", "")
  if saved == "" then return end
  remember(saved)
  local compiled, wrong = chunk.compile(saved)
  if not compiled then error(wrong, 0) end
  terminal.print(saved)
  return compiled()
end

return again
