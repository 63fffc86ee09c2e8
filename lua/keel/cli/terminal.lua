--- The one door to the terminal. What a store holds may have been written by anybody: escape sequences, characters that
--- turn the direction of what follows, bytes that are no text. Nothing of a command reaches the user but through here.
local errors = require "keel.errors"
local kernel = require "keel.kernel"

local terminal = {}

-- What changes the direction of text (bidi), or ends a line unseen: U+061C, U+200E, U+200F, U+2028 to U+202E, U+2066 to
-- U+2069, and U+FEFF.
local unseen = { "\xD8\x9C", "\xE2\x80[\x8E\x8F\xA8-\xAE]", "\xE2\x81[\xA6-\xA9]", "\xEF\xBB\xBF" }

-- A text without what a terminal would obey; `kept` control characters stay.
local function cleaned(text, controls)
  if not text:find "[%c\127-\255]" then return text end
  text = text:gsub(controls, " ")
  if not text:find "[\128-\255]" then return text end
  text = errors.readable(text):gsub("\xC2[\x80-\x9F]", " ") -- U+0080 to U+009F are control characters, too
  for _, pattern in ipairs(unseen) do text = text:gsub(pattern, " ") end
  return text
end

--- A value on one line.
---@param value any
---@return string
function terminal.plain(value)
  if value == nil then return "" end
  if type(value) == "table" then value = terminal.json(value) end
  return cleaned(tostring(value), "[%c\127]")
end

--- A text whose lines stay lines, and whose tabs stay tabs.
---@param value any
---@return string
function terminal.lines(value)
  return cleaned((tostring(value):gsub("\r\n", "\n")), "[^\n\t\32-\126\128-\255]")
end

-- What a shell writes for them in $'…'.
local escapes = { ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r" }

local function escaped_character(character)
  return ("\\u%04x"):format(utf8.codepoint(character))
end

--- A text with escapes in the place of what a terminal would obey, as a shell reads them in $'…'; nil: there is no such
--- thing in it.
---@param text string
---@return string? escaped
function terminal.escaped(text)
  if text == cleaned(text, "[%c\127]") then return nil end
  text = text:gsub("[\\']", "\\%0"):gsub("[%c\127]", function(byte)
    return escapes[byte] or ("\\x%02x"):format(byte:byte())
  end)
  text = errors.readable(text, "\\x%02x"):gsub("\xC2[\x80-\x9F]", escaped_character)
  for _, pattern in ipairs(unseen) do text = text:gsub(pattern, escaped_character) end
  return text
end

-- In front of a colour in a text that is yet to be shown. It is made anew in each process: nothing that was stored can
-- contain it.
local mark

--- A text in a colour, for `print`, `say` and `finished`.
---@param text string
---@param code integer as terminals have them
---@return string
function terminal.coloured(text, code)
  mark = mark or "\1" .. (kernel.new_id() or tostring({})):gsub("%W", "")
  return ("%s%dm%s%s0m"):format(mark, code, text, mark)
end

--- A text as it goes to the terminal: of sequences it has the colours of `coloured`, and no others.
---@param text string
---@return string
function terminal.finished(text)
  if not text:find "[%c\127-\255]" then return text end
  if not mark then return terminal.lines(text) end
  local parts, from = {}, 1
  while true do
    local first, last, code = text:find(mark .. "(%d+)m", from)
    parts[#parts + 1] = terminal.lines(text:sub(from, (first or 0) - 1))
    if not first then return table.concat(parts) end
    parts[#parts + 1] = ("\27[%sm"):format(code)
    from = last + 1
  end
end

local finished = terminal.finished

--- Passes on bytes that are no text, such as a copy of a store, to a standard output that is no terminal.
---@param bytes string
---@return file*? done
---@return string? problem
function terminal.pass(bytes)
  return io.stdout:write(bytes)
end

local kept -- lines that are printed are kept here in the place of standard output

--- Prints a line, or several, on standard output. False when nobody reads it.
---@param text? string
---@return boolean
function terminal.print(text)
  if kept then
    kept[#kept + 1] = finished(text or "") .. "\n"
    return true
  end
  return io.stdout:write(finished(text or ""), "\n") ~= nil
end

--- Calls a function, and gives what it prints here in the place of printing it.
---@param fn function
---@return string text ready for the terminal; `show` prints it
---@return { [1]: any }? failure what it raised
function terminal.captured(fn, ...)
  local before, lines = kept, {}
  kept = lines
  local ok, failure = pcall(fn, ...)
  kept = before
  return table.concat(lines), not ok and { failure } or nil
end

--- Prints what was captured.
---@param text string
function terminal.show(text)
  io.stdout:write(text)
end

--- Says something on standard error: the pieces on a line.
function terminal.say(...)
  io.stderr:write(finished(table.concat { ... }), "\n")
end

-- A copy of a value whose texts are valid UTF-8, names too.
local function readable(value)
  if type(value) == "string" then return errors.readable(value) end
  if type(value) ~= "table" then return value end
  local copy = {}
  for name, item in next, value do copy[readable(name)] = readable(item) end
  return setmetatable(copy, getmetatable(value))
end

--- The JSON of a value, on one line. What JSON cannot say of it is made readable; control characters that JSON allows
--- as they are, and what turns the direction, are escaped.
---@param value any
---@return string
function terminal.json(value)
  local text, err = kernel.json.encode(value)
  if not text then text = kernel.json.encode(readable(value)) end
  if not text then text = kernel.json.encode { error = { code = err.code, message = errors.readable(err.message) } } end
  if not text:find "[\127-\255]" then return text end
  text = text:gsub("\127", escaped_character):gsub("\xC2[\x80-\x9F]", escaped_character)
  for _, pattern in ipairs(unseen) do text = text:gsub(pattern, escaped_character) end
  return text
end

return terminal
