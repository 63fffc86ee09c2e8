--- The command and its folder as they are kept with the run. A run holds text; what is not UTF-8 among them is escaped,
--- so that `runs retry` can turn it back.
local errors = require "keel.errors"
local kernel = require "keel.kernel"
local terminal = require "keel.cli.terminal"

local words = {}

local function escape(text)
  return errors.readable(text:gsub("\\", "\\\\"), "\\x%02x")
end

local function unescape(text)
  return (text:gsub("\\(.)(%x?%x?)", function(mark, digits)
    if mark == "\\" then return "\\" .. digits end
    return mark == "x" and #digits == 2 and string.char(tonumber(digits, 16)) or nil
  end))
end

local function is_text(list)
  for _, text in ipairs(list) do
    if not utf8.len(text) then return false end
  end
  return true
end

-- A word as a shell would want it.
local function quoted(word)
  if word ~= "" and not word:find "[^%w%%+,./:=@_-]" then return word end
  local escaped = terminal.escaped(word)
  return escaped and "$'" .. escaped .. "'" or "'" .. word:gsub("'", "'\\''") .. "'"
end

--- Words as bash and zsh would want them, for people to read: no two commands look the same.
---@param list string[]
---@return string
function words.quoted(list)
  local all = {}
  for i, word in ipairs(list) do all[i] = quoted(word) end
  return table.concat(all, " ")
end

--- What is kept: `command`, `directory` if it is known, and `escaped` when their texts are.
---@param command string[]
---@param directory? string
---@return { command: string[], directory?: string, escaped?: boolean }
function words.kept(command, directory)
  local escaped = not (is_text(command) and is_text { directory }) or nil
  local list = {}
  for i, word in ipairs(command) do list[i] = escaped and escape(word) or word end
  return { command = kernel.array(list), directory = escaped and directory and escape(directory) or directory,
    escaped = escaped }
end

--- Whether a document is what was kept of a command.
---@param kwargs any
---@return boolean
function words.is_kept(kwargs)
  if type(kwargs) ~= "table" or type(kwargs.command) ~= "table" then return false end
  for _, word in ipairs(kwargs.command) do
    if type(word) ~= "string" then return false end
  end
  local directory = kwargs.directory
  return #kwargs.command > 0 and (directory == nil or type(directory) == "string")
end

--- Turns back what was kept.
---@param kept { command: string[], directory?: string, escaped?: boolean }
---@return string[] command
---@return string? directory
function words.restored(kept)
  local list = {}
  for i, word in ipairs(kept.command) do list[i] = kept.escaped and unescape(word) or word end
  return list, kept.escaped and kept.directory and unescape(kept.directory) or kept.directory
end

return words
