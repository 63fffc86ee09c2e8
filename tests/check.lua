--- What the checks of tests/lint.sh in Lua share: reading files, lists of them, and telling what is wrong.
local M = {}

local failed = false

---@param path string
---@return string text
function M.read(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

--- The lines that a command of the shell prints.
---@param command string
---@return string[]
function M.lines(command)
  local pipe, list = assert(io.popen(command)), {}
  for line in pipe:lines() do list[#list + 1] = line end
  assert(pipe:close())
  return list
end

--- Prints a violation; the rest is what string.format takes.
---@param path string
---@param line integer
function M.complain(path, line, ...)
  failed = true
  print(("%s:%d: %s"):format(path, line, string.format(...)))
end

--- Ends the check: with status 1 if there was a violation.
function M.finish() os.exit(not failed) end

return M
