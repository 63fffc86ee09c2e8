--- The command and its folder as they are kept with the run. A run holds text; what is not UTF-8 among them is escaped,
--- so that `runs retry` can turn it back.
local kernel = require "keel.kernel"

local words = {}

local function escape(text)
  local parts, from = {}, 1
  text = text:gsub("\\", "\\\\")
  while true do
    local fine, bad = utf8.len(text, from)
    if fine then return table.concat(parts) .. text:sub(from) end
    parts[#parts + 1] = text:sub(from, bad - 1) .. ("\\x%02x"):format(text:byte(bad))
    from = bad + 1
  end
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

--- Words as a shell would want them, for people to read.
---@param list string[]
---@return string
function words.quoted(list)
  local quoted = {}
  for i, word in ipairs(list) do
    quoted[i] = word ~= "" and not word:find "[^%w%%+,./:=@_-]" and word or "'" .. word:gsub("'", "'\\''") .. "'"
  end
  return table.concat(quoted, " ")
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
