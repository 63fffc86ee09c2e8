--- Files that are no sound Keel store. Only for files that no handle in this process has open.
local M = {}

function M.read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

function M.write(path, bytes)
  local file <close> = assert(io.open(path, "wb"))
  assert(file:write(bytes))
end

--- Replaces the bytes from `offset` (from 0) on.
function M.patch(path, offset, bytes)
  local old = M.read(path)
  M.write(path, old:sub(1, offset) .. bytes .. old:sub(offset + #bytes + 1))
end

function M.exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

--- A small, sound SQLite database with one table that another application might have made.
function M.foreign(application_id)
  local sql = "CREATE TABLE recipes(name)"
  local values = { "table", "recipes", "recipes" }
  local types = "\23\27\27" .. "\1" .. string.char(13 + 2 * #sql) -- three texts, one byte, one text
  local record = string.char(1 + #types) .. types .. table.concat(values) .. "\2" .. sql
  local cell = string.char(#record, 1) .. record
  local size = 512
  local header = "SQLite format 3\0" .. string.pack(">I2", size) .. "\1\1\0\64\32\32"
    .. string.pack(">I4I4I4I4I4I4I4I4I4I4I4", 1, 2, 0, 0, 1, 4, 0, 0, 1, 0, 0)
    .. string.pack(">I4", application_id or 0) .. ("\0"):rep(20) .. string.pack(">I4I4", 1, 3040001)
  local start = size - #cell
  local tree = "\13" .. string.pack(">I2I2I2", 0, 1, start) .. "\0" .. string.pack(">I2", start)
  local first = header .. tree .. ("\0"):rep(start - #header - #tree) .. cell
  local second = "\13" .. string.pack(">I2I2I2", 0, 0, size) .. ("\0"):rep(size - 7)
  return first .. second
end

return M
